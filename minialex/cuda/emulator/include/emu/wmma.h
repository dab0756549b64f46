// wmma.h -- CUDA's mma.h: matrices that the lanes of a warp hold together.
//
// CUDA does not say which lane holds which element of a fragment. Here they are dealt out in the order
// in which they lie in memory, two to a lane at a time. The arithmetic is that of mma.sync
// (tensor_core.h); sums in half are rounded once an instruction, to the nearest, which is assumed.
#pragma once
#include "emu/halves.h"
#include "emu/tensor_core.h"

namespace nvcuda::wmma {

struct row_major {};
struct col_major {};
struct matrix_a {};
struct matrix_b {};
struct accumulator {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32 {};
}

// How elements are kept, and multiplied.
template <class T> struct Kept;
template <> struct Kept<__half> {
    using type = __half;
    using Layout = emu::Packed<__half>;
};
template <> struct Kept<__nv_bfloat16> {
    using type = __nv_bfloat16;
    using Layout = emu::Packed<__nv_bfloat16>;
};
template <> struct Kept<precision::tf32> {
    using type = float;
    using Layout = emu::Tf32;
};
template <> struct Kept<float> { using type = float; };

template <class Use, int m, int n, int k> struct Extent;
template <int m, int n, int k> struct Extent<matrix_a, m, n, k> {
    static constexpr int rows = m, columns = k;
};
template <int m, int n, int k> struct Extent<matrix_b, m, n, k> {
    static constexpr int rows = k, columns = n;
};
template <int m, int n, int k> struct Extent<accumulator, m, n, k> {
    static constexpr int rows = m, columns = n;
};

template <class Use, int m, int n, int k, class T, class Order = void> class fragment {
    static constexpr bool sums = std::is_same_v<Use, accumulator>;
    static constexpr bool is_tf32 = std::is_same_v<T, precision::tf32>;
    static_assert((m == 16 && n == 16) || (!is_tf32 && ((m == 32 && n == 8) || (m == 8 && n == 32))),
                  "a shape that the emulator's fragments do not have");
    static_assert(k == 16 || (k == 8 && (is_tf32 || sums)),
                  "a shape that the emulator's fragments do not have");
    static_assert(sums == std::is_same_v<Order, void>, "matrices have an order, sums have none");

  public:
    using element_type = typename Kept<T>::type;
    using storage_element_type = element_type;
    static constexpr int rows = Extent<Use, m, n, k>::rows, columns = Extent<Use, m, n, k>::columns;
    static constexpr bool by_columns = std::is_same_v<Order, col_major>;
    static constexpr int held = rows * columns / 32;
    // A factor in half has 16 elements in any shape, some of them twice.
    static constexpr int num_elements = !sums && std::is_same_v<T, __half> ? 16 : held;
    element_type x[num_elements];

    // Where element i of a lane lies, counted in the order of memory.
    EMU_PART static int place(int lane, int i) { return (i / 2 * 32 + lane) * 2 + i % 2; }
};

namespace detail {

// The distance of a place from the matrix's first element in memory.
template <class F> EMU_PART size_t offset(int place, unsigned stride, bool by_columns) {
    const int length = F::by_columns ? F::rows : F::columns;
    const int major = place / length, minor = place % length;
    return by_columns == F::by_columns ? size_t(major) * stride + minor
                                       : size_t(minor) * stride + major;
}
template <class T> struct Two;
template <> struct Two<float> { using type = float2; };
template <> struct Two<__half> { using type = __half2; };
template <> struct Two<__nv_bfloat16> { using type = __nv_bfloat162; };

// Inlined, so that what a kernel loads and stores is booked on its line. Neighbours go together.
template <class F, class T>
__forceinline__ void load(F& to, const T* from, unsigned stride, bool by_columns) {
    const int lane = emu_lane();
    for (int i = 0; i < F::held; i += 2) {
        const size_t at = offset<F>(F::place(lane, i), stride, by_columns);
        if (by_columns == F::by_columns) {
            const auto two = *reinterpret_cast<const typename Two<T>::type*>(from + at);
            to.x[i] = two.x, to.x[i + 1] = two.y;
        } else {
            to.x[i] = from[at], to.x[i + 1] = from[at + stride];
        }
    }
    for (int i = F::held; i < F::num_elements; ++i) to.x[i] = to.x[i % F::held];
}
template <class F, class T>
__forceinline__ void store(T* to, const F& from, unsigned stride, bool by_columns) {
    const int lane = emu_lane();
    for (int i = 0; i < F::held; i += 2) {
        const size_t at = offset<F>(F::place(lane, i), stride, by_columns);
        if (by_columns == F::by_columns)
            *reinterpret_cast<typename Two<T>::type*>(to + at) = {from.x[i], from.x[i + 1]};
        else
            to[at] = from.x[i], to[at + stride] = from.x[i + 1];
    }
}

// The fragments of a lane, on its own stack: it waits there until all are multiplied.
template <class A, class B, class C, class D> struct Fragments {
    const A* a;
    const B* b;
    const C* c;
    D* d;
};
template <class F, class Visit> EMU_PART void each(const F& fragment, int lane, Visit visit) {
    constexpr int length = F::by_columns ? F::rows : F::columns;
    for (int i = 0; i < F::held; ++i) {
        const int place = F::place(lane, i), major = place / length, minor = place % length;
        visit(F::by_columns ? minor : major, F::by_columns ? major : minor, fragment.x[i], i);
    }
}
EMU_PART int bits_of(emu::Tf32*, float x) { return int(emu::bits_as<unsigned>(x) >> 13); }
template <class T> EMU_PART int bits_of(emu::Packed<T>*, T x) { return x.bits; }

template <class Layout, class All> EMU_QUIET void multiply(emu::Lanes* lanes) {
    using A = std::remove_cv_t<std::remove_pointer_t<decltype(All::a)>>;
    using D = std::remove_pointer_t<decltype(All::d)>;
    constexpr int K = Layout::K, rows = D::rows, columns = D::columns;
    static_assert(A::columns == K, "the shape of another type of elements");
    int a[rows][K], b[K][columns], d[rows][columns];
    for (int lane = 0; lane < 32; ++lane) {
        const All all = emu::value_of<All>(lanes, lane);
        each(*all.a, lane, [&](int r, int c, auto x, int) EMU_WITHIN {
            a[r][c] = bits_of(static_cast<Layout*>(nullptr), x);
        });
        each(*all.b, lane, [&](int r, int c, auto x, int) EMU_WITHIN {
            b[r][c] = bits_of(static_cast<Layout*>(nullptr), x);
        });
        each(*all.c, lane, [&](int r, int c, auto x, int) EMU_WITHIN {
            d[r][c] = emu::bits_as<int>(float(x));
        });
    }
    const emu::TensorCores& how = *emu_tensor_cores();
    for (int row = 0; row < rows; row += 16)
        for (int column = 0; column < columns; column += 8) {
            emu::Tiles<Layout> tiles{};
            const int count = rows < 16 ? rows : 16;
            for (int i = 0; i < count; ++i) {
                for (int k = 0; k < K; ++k) tiles.a[i][k] = a[row + i][k];
                for (int j = 0; j < 8; ++j) tiles.d[i][j] = d[row + i][column + j];
            }
            for (int k = 0; k < K; ++k)
                for (int j = 0; j < 8; ++j) tiles.b[k][j] = b[k][column + j];
            tiles.multiply(how);
            for (int i = 0; i < count; ++i)
                for (int j = 0; j < 8; ++j) d[row + i][column + j] = tiles.d[i][j];
        }
    for (int lane = 0; lane < 32; ++lane) {
        D& to = *emu::value_of<All>(lanes, lane).d;
        each(to, lane, [&](int r, int c, auto, int i) EMU_WITHIN {
            to.x[i] = typename D::element_type(emu::bits_as<float>(d[r][c]));
        });
    }
}

}  // namespace detail

template <class F>
__forceinline__ void fill_fragment(F& fragment, const typename F::element_type& value) {
    for (int i = 0; i < F::num_elements; ++i) fragment.x[i] = value;
}
template <class Use, int m, int n, int k, class T, class Order>
__forceinline__ void load_matrix_sync(fragment<Use, m, n, k, T, Order>& to,
                                      const typename Kept<T>::type* from, unsigned stride) {
    detail::load(to, from, stride, std::is_same_v<Order, col_major>);
}
template <int m, int n, int k, class T>
__forceinline__ void load_matrix_sync(fragment<accumulator, m, n, k, T>& to, const T* from,
                                      unsigned stride, layout_t layout) {
    detail::load(to, from, stride, layout == mem_col_major);
}
template <int m, int n, int k, class T>
__forceinline__ void store_matrix_sync(T* to, const fragment<accumulator, m, n, k, T>& from,
                                       unsigned stride, layout_t layout) {
    detail::store(to, from, stride, layout == mem_col_major);
}
template <int m, int n, int k, class D, class T, class OrderA, class OrderB, class C>
EMU_QUIET void mma_sync(fragment<accumulator, m, n, k, D>& d,
                        const fragment<matrix_a, m, n, k, T, OrderA>& a,
                        const fragment<matrix_b, m, n, k, T, OrderB>& b,
                        const fragment<accumulator, m, n, k, C>& c, EMU_SITE) {
    constexpr const char* what = "wmma::mma_sync";
    if (emu_tensor_cores()->group_bytes == 0) emu_fail(emu::TRAP, what, EMU_AT);
    using All = detail::Fragments<std::decay_t<decltype(a)>, std::decay_t<decltype(b)>,
                                  std::decay_t<decltype(c)>, std::decay_t<decltype(d)>>;
    const float4 before{float(c.x[0]), float(c.x[1]), float(c.x[2]), float(c.x[3])};
    emu::Lanes* lanes = emu::meet(~0u, All{&a, &b, &c, &d}, what, EMU_AT);
    if (!lanes->settled) {
        detail::multiply<typename Kept<T>::Layout, All>(lanes);
        lanes->settled = true;
    }
    const float4 after{float(d.x[0]), float(d.x[1]), float(d.x[2]), float(d.x[3])};
    emu::record(what, before, after, EMU_AT);
}

EMU_PART float __float_to_tf32(float x) { return emu::bits_as<float>(emu::to_tf32(x)); }

}  // namespace nvcuda::wmma
