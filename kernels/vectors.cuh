// vectors.cuh -- 16-byte loads and stores. Both addresses must be multiples of 16, or a GPU stops
// with a misaligned access: is_vector_aligned (ops/_cuda/tiling.py) or begin_vectors (slices.cuh) checks.

// Elements of 16 bytes, the most that one instruction moves: four floats, two doubles or eight
// bfloat16 numbers.
template <typename T> constexpr int VECTOR_WIDTH = 16 / sizeof(T);

// `count`, and as many more as whole vectors take.
template <typename T> __device__ __forceinline__ int padded(const int count) {
    return (count + VECTOR_WIDTH<T> - 1) / VECTOR_WIDTH<T> * VECTOR_WIDTH<T>;
}

__device__ __forceinline__ void read_vector(const float* from, float* to) {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
__device__ __forceinline__ void read_vector(const double* from, double* to) {
    const double2 v = *reinterpret_cast<const double2*>(from);
    to[0] = v.x, to[1] = v.y;
}
__device__ __forceinline__ void write_vector(const float* from, float* to) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
}
__device__ __forceinline__ void write_vector(const double* from, double* to) {
    *reinterpret_cast<double2*>(to) = make_double2(from[0], from[1]);
}

// A vector, or half of one: two floats.
template <int W, typename T> __device__ __forceinline__ void write_numbers(const T* from, T* to) {
    if constexpr (W * sizeof(T) == 8) *reinterpret_cast<float2*>(to) = make_float2(from[0], from[1]);
    else write_vector(from, to);
}
