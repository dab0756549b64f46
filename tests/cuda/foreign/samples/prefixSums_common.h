#ifndef PREFIX_SUMS_COMMON_H
#define PREFIX_SUMS_COMMON_H

typedef unsigned int uint;

#define PREFIX_THREADS 64
#define PREFIX_ROW (4 * PREFIX_THREADS)

extern "C" void prefixSums(uint *after, uint *before, uint *bases, uint count);

#endif
