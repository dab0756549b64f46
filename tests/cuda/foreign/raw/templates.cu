template <typename T>
__device__ T clip(T x, T low, T high) {
  return x < low ? low : (x > high ? high : x);
}

template <typename T>
__global__ void clip_all(T *x, T low, T high, const ptrdiff_t n) {
  ptrdiff_t i = blockIdx.x * (ptrdiff_t)blockDim.x + threadIdx.x;
  if (i < n) x[i] = clip<T>(x[i], low, high);
}

// The median of three neighbours on each side, of one row per block
template <typename T, int N>
__global__ void median_row(const T *in, T *out, int width) {
  T window[N];
  for (int x = threadIdx.x; x < width; x += blockDim.x) {
    for (int k = 0; k < N; ++k) {
      int at = x + k - N / 2;
      at = at < 0 ? 0 : (at >= width ? width - 1 : at);
      window[k] = in[blockIdx.x * width + at];
    }
    for (int i = 1; i < N; ++i) {
      T v = window[i];
      int j = i - 1;
      while (j >= 0 && window[j] > v) {
        window[j + 1] = window[j];
        --j;
      }
      window[j + 1] = v;
    }
    out[blockIdx.x * width + x] = window[N / 2];
  }
}

struct complex_t {
  double re, im;
};

__device__ complex_t multiply(complex_t a, complex_t b) {
  complex_t c = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  return c;
}

extern "C" __global__ void scale_complex(complex_t *z, complex_t by, int n) {
  int i = threadIdx.x + blockIdx.x * blockDim.x;
  if (i < n) z[i] = multiply(z[i], by);
}
