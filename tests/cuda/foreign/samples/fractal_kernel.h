#ifndef FRACTAL_KERNEL_H
#define FRACTAL_KERNEL_H

#include <vector_types.h>

#define BLOCKDIM_X 8
#define BLOCKDIM_Y 4

inline int iDivUp(int a, int b) { return a / b + (a % b != 0); }

extern void runFractal(uchar4 *dst, int imageW, int imageH, int limit, float left, float top,
                       float scale, uchar4 colors, int processors);

#endif
