#pragma once

typedef unsigned int uint;

// two keys per thread, and a power of two
#define LOCAL_KEYS 128U

#define UMUL(a, b) __umul24((a), (b))
#define UMAD(a, b, c) (UMUL((a), (b)) + (c))

__device__ inline uint lowerOf(uint pair, uint gap) {
  return 2 * pair - (pair & (gap - 1));
}

__device__ inline void swapTwo(uint &p, uint &q) {
  const uint kept = p;
  p = q;
  q = kept;
}

__device__ inline void orderPair(uint &keyLow, uint &valueLow, uint &keyHigh, uint &valueHigh,
                                 uint ascending) {
  if ((keyLow > keyHigh) == (ascending != 0)) {
    swapTwo(keyLow, keyHigh);
    swapTwo(valueLow, valueHigh);
  }
}
