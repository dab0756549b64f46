// Prices of European options after Black and Scholes, two per thread.

////////////////////////////////////////////////////////////////////////////////
// The normal distribution, as a polynomial in 1 / (1 + 0.2316419 |d|)
////////////////////////////////////////////////////////////////////////////////
__device__ inline float normalCdf(float d) {
  const float weights[5] = {0.31938153f, -0.356563782f, 1.781477937f, -1.821255978f,
                            1.330274429f};
  const float t = __fdividef(1.0f, 1.0f + 0.2316419f * fabsf(d));
  float tail = 0;
#pragma unroll
  for (int k = 4; k >= 0; --k) tail = t * (weights[k] + tail);
  tail *= 0.39894228040143267793994605993438f * __expf(-0.5f * d * d);
  return d > 0 ? 1.0f - tail : tail;
}

__device__ inline void priceOne(float &call, float &put, float S, float X, float T, float R,
                                float V) {
  const float spread = V * sqrtf(T);
  const float d1 = __fdividef(__logf(S / X) + (R + 0.5f * V * V) * T, spread);
  const float d2 = d1 - spread;
  const float discounted = X * __expf(-R * T);
  const float n1 = normalCdf(d1), n2 = normalCdf(d2);
  call = S * n1 - discounted * n2;
  put = discounted * (1.0f - n2) - S * (1.0f - n1);
}

__launch_bounds__(128) __global__
    void priceOptions(float2 *__restrict d_Call, float2 *__restrict d_Put,
                      const float2 *__restrict d_Spot, const float2 *__restrict d_Strike,
                      const float2 *__restrict d_Years, float rate, float volatility, int options) {
  const int pair = blockDim.x * blockIdx.x + threadIdx.x;
  if (pair < (options / 2)) {
    float2 call, put;
    const float2 spot = d_Spot[pair], strike = d_Strike[pair], years = d_Years[pair];
    priceOne(call.x, put.x, spot.x, strike.x, years.x, rate, volatility);
    priceOne(call.y, put.y, spot.y, strike.y, years.y, rate, volatility);
    d_Call[pair] = call;
    d_Put[pair] = put;
  }
}
