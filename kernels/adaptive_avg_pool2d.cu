// adaptive_avg_pool2d.cu -- the mean of each cell of a grid laid over the image. Python side:
// minialex/ops/adaptive_avg_pool2d/.
//
//   forward    y[i, j]  = mean of x over rows(i) x columns(j)
//   backward   gx[h, w] = sum of gy[i, j] / |rows(i) x columns(j)| over the cells that contain (h, w)
//
// plane by plane. Of OH cells over H rows, rows(i) runs from floor(i H / OH) up to, not including,
// ceil((i + 1) H / OH); cells overlap where OH does not divide H. The cells that contain row h are,
// by the same formula with H and OH exchanged, those from floor(h OH / H) up to ceil((h + 1) OH / H):
//
//   floor(i H / OH) <= h   means   i H < (h + 1) OH,   which is   i < (h + 1) OH / H
//   ceil((i + 1) H / OH) > h   means   (i + 1) H > h OH,   which is   i + 1 > h OH / H
//
// Layout:  x, gx (planes, H, W), y, gy (planes, OH, OW), C-contiguous, where the planes are the N C
//          channels of all images.
// Launch:  1-D grids of 1-D blocks: forward one thread per output, backward one thread per pixel.
// Cost:    forward one addition for each element of each cell, backward one division: both are
//          memory-bound, x and y are moved once. Numbers of bfloat16, which are widened to float as
//          they are read, take half as much. The networks pool small images, 6 x 6, where launch
//          latency dominates: the integer divisions that find the cells stay.

// The pixels of cell i when an axis of `size` pixels is divided into `count` cells. With the two
// exchanged: the cells that contain pixel i.
//   7 rows in 3 cells: 0..2, 2..4, 4..6. Row 2 is in the cells from 2*3/7 = 0 up to ceil(3*3/7) = 2,
//   which are cells 0 and 1.
__device__ __forceinline__ Range cell_range(const int i, const int size, const int count) {
    return {i * size / count, ((i + 1) * size + count - 1) / count};
}

// The idea: the formula. A cell of AlexNet's is one pixel or a few; where it is the whole image,
// lanes read H W elements apart, and each cache line serves a thread's next 31 additions from L1.
// instances: T = float, double, __nv_bfloat16
template <typename T>
__global__ void adaptive_avg_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, const int planes,
                                            const int H, const int W, const int OH, const int OW) {
    using A = typename Accumulator<T>::type;
    const int index = flat_index();
    if (index >= planes * OH * OW) return;
    const Index3 output = unravel(index, OH, OW);
    const Range rows = cell_range(output.b, H, OH), columns = cell_range(output.c, W, OW);

    A sum = 0;
    for (int h = rows.first; h < rows.end; ++h)
        for (int w = columns.first; w < columns.end; ++w) sum += A(x[(output.a * H + h) * W + w]);
    y[index] = T(sum / A(rows.size() * columns.size()));
}

// The idea: each pixel gathers from the cells that contain it, in ascending order: no atomics.
// instances: T = float, double, __nv_bfloat16
template <typename T>
__global__ void adaptive_avg_pool2d_backward(const T* __restrict__ gy, T* __restrict__ gx,
                                             const int planes, const int H, const int W, const int OH,
                                             const int OW) {
    using A = typename Accumulator<T>::type;
    const int index = flat_index();
    if (index >= planes * H * W) return;
    const Index3 pixel = unravel(index, H, W);
    const Range row_cells = cell_range(pixel.b, OH, H), column_cells = cell_range(pixel.c, OW, W);

    A sum = 0;
    for (int i = row_cells.first; i < row_cells.end; ++i)
        for (int j = column_cells.first; j < column_cells.end; ++j) {
            const int count = cell_range(i, H, OH).size() * cell_range(j, W, OW).size();
            sum += A(gy[(pixel.a * OH + i) * OW + j]) / A(count);
        }
    gx[index] = T(sum);
}
