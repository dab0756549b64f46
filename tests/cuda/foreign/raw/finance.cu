// Text that Python hands over as it stands: no header, C names, helpers without a word.

#define PI 3.14159265358979f

struct market {
  float rate;
  float volatility;
  int steps;
};

__device__ float cdf(float x) { return 0.5f * erfcf(-x * 0.70710678f); }

extern "C" __global__ void call_price(const float *spot, const float *strike, const float *years,
                                      float *price, market m, int n) {
  int tid = blockDim.x * blockIdx.x + threadIdx.x;
  if (tid >= n) return;
  float spread = m.volatility * sqrtf(years[tid]);
  float d1 = (logf(spot[tid] / strike[tid]) + m.rate * years[tid]) / spread + 0.5f * spread;
  price[tid] = spot[tid] * cdf(d1) - strike[tid] * expf(-m.rate * years[tid]) * cdf(d1 - spread);
}

__device__ unsigned int xorshift(unsigned int *state) {
  unsigned int x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

/* Where seeds walk to: +1 or -1 at each step, by the random number's top bit. */
extern "C" __global__ void random_walk(const unsigned int *seeds, int *ends, int *highest, market m,
                                       int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) {
    unsigned int state = seeds[i];
    int at = 0, top = 0;
    for (int step = 0; step < m.steps; ++step) {
      at += (xorshift(&state) >> 31) ? 1 : -1;
      if (at > top) top = at;
    }
    ends[i] = at;
    atomicMax(highest, top);
  }
}
