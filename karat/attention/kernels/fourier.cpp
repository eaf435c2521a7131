// Fourier units and their gradients on the CPU, without all scores or features in memory: the rows
// Φ̂(A), and the whole attention Φ̂(A) (Wᵀ V), with operands in the layout of the qkv projection.
//
// For one image and head, the functions process a tile of queries at a time: scores, then all
// features of a score in one pass (one sine and cosine, the rest by angle addition), then the
// products with the weights, summed in registers. A tile fits into the second-level cache. Images
// and heads are distributed over threads.
//
// Shapes: B images, H heads, N queries, M keys, D head width, P operators, R outputs,
// F = 2 G features, X = F M; T queries in a tile, a multiple of the lanes of a vector. Everything
// is float32; each head of a tensor must be a row-major matrix, with any strides between heads.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

// BLAS as linked into torch; it expects column-major matrices.
extern "C" void sgemm_(const char*, const char*, const int*, const int*, const int*, const float*,
                       const float*, const int*, const float*, const int*, const float*, float*,
                       const int*);

namespace {

constexpr int64_t kTileBytes = 400 * 1024;      // of a second-level cache of 512 KiB or more
constexpr int64_t kLargestGrid = 16;            // one instance of the templates for each G
constexpr float kLargestScore = 1073741824.0f;  // 2^30, see sine_and_cosine

// c (m x n) = alpha op(a) op(b) + beta c, row-major, where op(a) is m x k.
void gemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  const int im = m, in = n, ik = k, ia = lda, ib = ldb, ic = ldc;
  sgemm_(&tb, &ta, &in, &im, &ik, &alpha, b, &ib, a, &ia, &beta, c, &ic);
}

// The compiler's vector extensions, so that speed does not depend on automatic vectorisation.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
using Floats = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using Doubles = double __attribute__((vector_size(8 * kLanes)));
using Integers = int32_t __attribute__((vector_size(4 * kLanes)));

inline const Floats& vector_at(const float* from) { return *reinterpret_cast<const Floats*>(from); }
inline Floats& vector_at(float* from) { return *reinterpret_cast<Floats*>(from); }

// Reduces the angle to [-pi/4, pi/4] in double precision, which is exact enough for all scores below
// 2^30; then polynomials of the Cephes library, with an error below 1e-7.
inline void sine_and_cosine(const Floats& x, Floats& s, Floats& c) {
  constexpr double kNearest = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  // Float32 numbers from 2^30 are 128 apart and do not determine an angle: they count as 0.
  // x * 0 keeps NaN, and makes infinity NaN.
  const Integers tells = (x < kLargestScore) & (x > -kLargestScore);
  const Doubles wide = __builtin_convertvector(tells ? x : x * 0.0f, Doubles);
  const Doubles shifted = wide * 0.63661977236758134308 + kNearest;
  const Doubles quarters = shifted - kNearest;
  const Floats r = __builtin_convertvector(wide - quarters * 1.57079632679489661923, Floats);
  const Integers quadrant = __builtin_convertvector(quarters, Integers);
  const Floats z = r * r;
  const Floats sine =
      r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f - z * 1.9515295891e-4f));
  const Floats cosine = 1.0f - 0.5f * z +
                        z * z *
                            (4.166664568298827e-2f +
                             z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  const Integers swap = (quadrant & 1) != 0;
  const Floats even = swap ? cosine : sine, odd = swap ? sine : cosine;
  s = (quadrant & 2) != 0 ? -even : even;
  c = ((quadrant + 1) & 2) != 0 ? -odd : odd;
}

// Writes cos kx to feature k - 1 and sin kx to feature G + k - 1. Each feature has `count` numbers, a
// multiple of the vector length.
template <int G>
void write_features(const float* scores, float* features, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    Floats s[G], c[G];
    sine_and_cosine(vector_at(scores + i), s[0], c[0]);
#pragma GCC unroll 16
    for (int k = 2; k <= G; ++k) {
      const int low = k / 2 - 1, high = k - k / 2 - 1;  // so that errors grow with log k
      c[k - 1] = c[low] * c[high] - s[low] * s[high];
      s[k - 1] = s[low] * c[high] + c[low] * s[high];
    }
#pragma GCC unroll 16
    for (int k = 0; k < G; ++k) {
      vector_at(features + k * count + i) = c[k];
      vector_at(features + (G + k) * count + i) = s[k];
    }
  }
}

// Sums over all features for R outputs and a vector of queries: rows_r = sum_x weights_xr
// feature_x. Consecutive features are `stride` numbers apart, their weights `outputs` numbers.
template <int R>
void sum_rows(const float* features, int64_t stride, const float* weights, int64_t outputs,
              int64_t count, Floats* rows) {
  Floats sums[R] = {};
  for (int64_t x = 0; x < count; ++x) {
    const Floats feature = vector_at(features + x * stride);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r] += feature * weights[x * outputs + r];
  }
  for (int r = 0; r < R; ++r) rows[r] = sums[r];
}

// Adds the contribution of R outputs to the gradients of the scores with `keys` keys, for a vector
// of queries: grad_m += sum_f feature_fm sum_r slopes_fmr grad_r.
template <int R>
void pull_back(const float* features, int64_t stride, const float* slopes, int64_t outputs,
               int64_t keys, int64_t count, const Floats* grad, float* scores) {
  Floats above[R];
  for (int r = 0; r < R; ++r) above[r] = grad[r];
  for (int64_t m = 0; m < keys; ++m) {
    Floats sum = vector_at(scores + m * stride);
    for (int64_t x = m; x < count; x += keys) {
      const float* slope = slopes + x * outputs;
      Floats pulled = above[0] * slope[0];
#pragma GCC unroll 16
      for (int r = 1; r < R; ++r) pulled += above[r] * slope[r];
      sum += pulled * vector_at(features + x * stride);
    }
    vector_at(scores + m * stride) = sum;
  }
}

// One instance for each G, and for each number of outputs whose sums fit into registers.
constexpr int64_t kOutputs = 12;

template <int... G>
constexpr auto writers(std::integer_sequence<int, G...>) {
  return std::array{&write_features<G + 1>...};
}
template <int... R>
constexpr auto summers(std::integer_sequence<int, R...>) {
  return std::array{&sum_rows<R + 1>...};
}
template <int... R>
constexpr auto pullers(std::integer_sequence<int, R...>) {
  return std::array{&pull_back<R + 1>...};
}
constexpr auto kWriters = writers(std::make_integer_sequence<int, kLargestGrid>());
constexpr auto kSummers = summers(std::make_integer_sequence<int, kOutputs>());
constexpr auto kPullers = pullers(std::make_integer_sequence<int, kOutputs>());

// A row-major matrix: one head of one image in a tensor (B, H, N, D).
template <typename T>
struct Matrix {
  T* start;
  int64_t stride;

  T* row(int64_t number) const { return start + number * stride; }
  Matrix columns(int64_t first) const { return {start + first, stride}; }
};

// Strides of dimensions of size 1 are arbitrary in torch.
int64_t row_stride(const at::Tensor& x) {
  TORCH_CHECK(x.size(3) == 1 || x.stride(3) == 1, "a head must be a matrix");
  return x.size(2) == 1 ? x.size(3) : x.stride(2);
}

Matrix<const float> head_of(const at::Tensor& x, int64_t image, int64_t head) {
  return {x.const_data_ptr<float>() + image * x.stride(0) + head * x.stride(1), row_stride(x)};
}

Matrix<float> head_in(const at::Tensor& x, int64_t image, int64_t head) {
  return {x.mutable_data_ptr<float>() + image * x.stride(0) + head * x.stride(1), row_stride(x)};
}

struct Shape {
  int64_t images, heads, queries, keys, width, operators, outputs, features, tile;

  Shape(const at::Tensor& q, const at::Tensor& k, const at::Tensor& cosines)
      : images(q.size(0)),
        heads(q.size(1)),
        queries(q.size(2)),
        keys(k.size(2)),
        width(q.size(3)),
        operators(cosines.size(0)),
        outputs(cosines.size(1)),
        features(2 * cosines.size(3)) {
    TORCH_CHECK(features / 2 <= kLargestGrid, "grid size above 16");
    TORCH_CHECK(cosines.size(2) == keys, "units for another number of keys");
    TORCH_CHECK(operators > 0 && heads % operators == 0, heads, " heads, ", operators,
                " operators");
    check(k, "k", keys, width);
    const int64_t of_query = (features + 1) * keys * sizeof(float);
    tile = std::min(whole_vectors(queries), kTileBytes / of_query / kLanes * kLanes);
    tile = std::max<int64_t>(kLanes, tile);
  }

  static int64_t whole_vectors(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }
  // Refuse a tensor that is not (B, H, rows, columns).
  void check(const at::Tensor& x, const char* name, int64_t rows, int64_t columns) const {
    TORCH_CHECK(x.dim() == 4 && x.size(0) == images && x.size(1) == heads &&
                    x.size(2) == rows && x.size(3) == columns,
                name, " has shape ", x.sizes(), "; expected [", images, ", ", heads, ", ", rows,
                ", ", columns, "]");
  }

  int64_t row() const { return features * keys; }
  int64_t of_operator() const { return outputs * row(); }
  int64_t operator_of(int64_t head) const { return head / (heads / operators); }
  size_t numbers() const { return (features + 1) * keys * tile; }
};

// The coefficients a (of cosines) and b (of sines) of the units, shape (P, R, M, G) each, and their
// scales, shape (P, R, M), or none. The weights of a unit are its scale times its coefficients.
struct Units {
  const Shape& s;
  const at::Tensor a, b;
  const std::optional<at::Tensor> scales;

  Units(const Shape& s, const at::Tensor& a, const at::Tensor& b,
        const std::optional<at::Tensor>& scales)
      : s(s),
        a(a.contiguous()),
        b(b.contiguous()),
        scales(scales ? std::optional(scales->contiguous()) : std::nullopt) {}

  // The weights of features, shape (P, X, R).
  at::Tensor weights() const { return by_feature(false); }

  // The weights for the derivative of a unit, which is a sum of the same features.
  at::Tensor slopes() const { return by_feature(true); }

  // Gradients of a, b and scales, given partial sums of those of the weights: (threads, P, R, X).
  std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& parts) const {
    at::Tensor grad_a = at::empty_like(a), grad_b = at::empty_like(b);
    at::Tensor grad_scales = at::empty({scales ? s.operators : 0, s.outputs, s.keys}, a.options());
    const float *pa = a.const_data_ptr<float>(), *pb = b.const_data_ptr<float>();
    const float* scale = scales ? scales->const_data_ptr<float>() : nullptr;
    const float* part = parts.const_data_ptr<float>();
    float *into_a = grad_a.mutable_data_ptr<float>(), *into_b = grad_b.mutable_data_ptr<float>();
    float* into_scales = grad_scales.mutable_data_ptr<float>();
    const int64_t grid = s.features / 2, threads = parts.size(0), step = parts.stride(0);
    at::parallel_for(0, s.operators * s.outputs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin * s.keys; unit < end * s.keys; ++unit) {
        const float* first = part + unit / s.keys * s.row() + unit % s.keys;
        float grad_scale = 0;
        for (int64_t g = 0; g < grid; ++g) {
          float x = 0, y = 0;
          for (int64_t t = 0; t < threads; ++t) {
            x += first[t * step + g * s.keys];
            y += first[t * step + (grid + g) * s.keys];
          }
          grad_scale += x * pa[unit * grid + g] + y * pb[unit * grid + g];
          into_a[unit * grid + g] = scale ? x * scale[unit] : x;
          into_b[unit * grid + g] = scale ? y * scale[unit] : y;
        }
        if (scale) into_scales[unit] = grad_scale;
      }
    });
    return {grad_a, grad_b, grad_scales};
  }

 private:
  at::Tensor by_feature(bool of_slopes) const {
    at::Tensor found = at::empty({s.operators, s.row(), s.outputs}, a.options());
    const float *pa = a.const_data_ptr<float>(), *pb = b.const_data_ptr<float>();
    const float* scale = scales ? scales->const_data_ptr<float>() : nullptr;
    float* into = found.mutable_data_ptr<float>();
    const int64_t grid = s.features / 2;
    at::parallel_for(0, s.operators * s.keys, 16, [&](int64_t begin, int64_t end) {
      for (int64_t key = begin; key < end; ++key) {
        const int64_t p = key / s.keys, m = key % s.keys;
        float* first = into + p * s.of_operator() + m * s.outputs;
        for (int64_t g = 0; g < grid; ++g) {
          float* of_cosine = first + g * s.keys * s.outputs;
          float* of_sine = first + (grid + g) * s.keys * s.outputs;
          for (int64_t r = 0; r < s.outputs; ++r) {
            const int64_t unit = (p * s.outputs + r) * s.keys + m;
            const float x = pa[unit * grid + g] * (scale ? scale[unit] : 1);
            const float y = pb[unit * grid + g] * (scale ? scale[unit] : 1);
            of_cosine[r] = of_slopes ? (g + 1) * y : x;
            of_sine[r] = of_slopes ? -(g + 1) * x : y;
          }
        }
      }
    });
    return found;
  }
};

// Memory of this thread, reused by later calls.
float* scratch(size_t numbers) {
  thread_local std::vector<float> memory;
  if (memory.size() < numbers) memory.resize(numbers);
  return memory.data();
}

// One head of one image. Scores and features are those of the tile of the last call of `rows`;
// numbers after the last query of the tile have no effect.
struct Head {
  const Shape& s;
  Matrix<const float> q, k;
  const float* weights;  // X x R
  float scale;
  float *scores, *features;  // M x T, X x T

  Head(const Shape& s, const at::Tensor& q, const at::Tensor& k, const at::Tensor& weights_PXR,
       double scale, int64_t image, int64_t head, float* memory)
      : s(s),
        q(head_of(q, image, head)),
        k(head_of(k, image, head)),
        weights(weights_PXR.const_data_ptr<float>() + s.operator_of(head) * s.of_operator()),
        scale(scale),
        scores(memory),
        features(scores + s.keys * s.tile) {}

  // Rows (R x n) of the `n` queries from `first`.
  void rows(int64_t first, int64_t n, Matrix<float> rows) const {
    if (n < s.tile) std::fill_n(scores, s.keys * s.tile, 0.0f);
    gemm('N', 'T', s.keys, n, s.width, scale, k.start, k.stride, q.row(first), q.stride, 0, scores,
         s.tile);
    kWriters[s.features / 2 - 1](scores, features, s.keys * s.tile);
    for (int64_t i = 0; i < n; i += kLanes)
      for (int64_t r = 0; r < s.outputs; r += kOutputs) {
        Floats sums[kOutputs];
        const int64_t outputs = std::min(kOutputs, s.outputs - r);
        kSummers[outputs - 1](features + i, s.tile, weights + r, s.outputs, s.row(), sums);
        for (int64_t own = 0; own < outputs; ++own)
          std::memcpy(rows.row(r + own) + i, &sums[own], lanes(i, n) * sizeof(float));
      }
  }

  // Gradients, given that of the rows of the same tile. Gradients of the weights (R x X) are added to
  // `grad_weights`; those of the keys to `grad_k`, which the first tile overwrites. `slopes` is X x R.
  void backward(int64_t first, int64_t n, Matrix<const float> grad, const float* slopes,
                float* grad_weights, Matrix<float> grad_q, Matrix<float> grad_k) const {
    gemm('N', 'T', s.outputs, s.row(), n, 1, grad.start, grad.stride, features, s.tile, 1,
         grad_weights, s.row());
    std::fill_n(scores, s.keys * s.tile, 0.0f);
    for (int64_t i = 0; i < n; i += kLanes)
      for (int64_t r = 0; r < s.outputs; r += kOutputs) {
        Floats above[kOutputs] = {};
        const int64_t outputs = std::min(kOutputs, s.outputs - r);
        for (int64_t own = 0; own < outputs; ++own)
          std::memcpy(&above[own], grad.row(r + own) + i, lanes(i, n) * sizeof(float));
        kPullers[outputs - 1](features + i, s.tile, slopes + r, s.outputs, s.keys, s.row(), above,
                              scores + i);
      }
    gemm('T', 'N', n, s.width, s.keys, scale, scores, s.tile, k.start, k.stride, 0,
         grad_q.row(first), grad_q.stride);
    gemm('N', 'N', s.keys, s.width, n, scale, scores, s.tile, q.row(first), q.stride,
         first ? 1 : 0, grad_k.start, grad_k.stride);
  }

 private:
  static int64_t lanes(int64_t begin, int64_t end) {
    return std::min<int64_t>(kLanes, end - begin);
  }
};

// Calls `work(first, n)` for all tiles of a head, one after another.
template <typename Work>
void for_each_tile(const Shape& s, int64_t begin, int64_t end, const Work& work) {
  for (int64_t first = begin; first < end; first += s.tile)
    work(first, std::min(s.tile, end - first));
}

// The number of threads: at most one for each tile of each head.
int64_t parts_for(const Shape& s) {
  const int64_t tiles = (s.queries + s.tile - 1) / s.tile;
  return std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), s.images * s.heads * tiles));
}

// Calls `work(image, head, thread, memory, begin, end)` for the queries of every head. With fewer
// heads than threads, `may_split` distributes the queries of a head over several threads.
template <typename Work>
void for_each_head(const Shape& s, size_t numbers, bool may_split, const Work& work) {
  const int64_t threads = at::get_num_threads(), heads = s.images * s.heads;
  const int64_t tiles = (s.queries + s.tile - 1) / s.tile;
  const int64_t wanted = may_split && heads ? (threads + heads - 1) / heads : 1;
  const int64_t part = (tiles + wanted - 1) / std::max(int64_t{1}, wanted) * s.tile;
  const int64_t parts = part ? (s.queries + part - 1) / part : 1;
  at::parallel_for(0, heads * parts, 1, [&](int64_t from, int64_t to) {
    float* memory = scratch(numbers);
    // Inside another parallel region all work runs in one thread, whose number may be too high.
    const int64_t thread = std::min<int64_t>(at::get_thread_num(), parts_for(s) - 1);
    for (int64_t task = from; task < to; ++task) {
      const int64_t place = task / parts, begin = task % parts * part;
      work(place / s.heads, place % s.heads, thread, memory, begin,
           std::min(s.queries, begin + part));
    }
  });
}

// A partial sum for each thread.
at::Tensor parts_of(const Shape& s, std::initializer_list<int64_t> sizes,
                    const at::Tensor& like) {
  std::vector<int64_t> all{parts_for(s)};
  all.insert(all.end(), sizes);
  return at::zeros(all, like.options());
}

at::Tensor fourier_rows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& a,
                        const at::Tensor& b, const std::optional<at::Tensor>& scales,
                        double scale) {
  const Shape s(q, k, a);
  const at::Tensor weights = Units(s, a, b, scales).weights();
  at::Tensor rows = at::empty({s.images, s.heads, s.outputs, s.queries}, q.options());
  for_each_head(s, s.numbers(), true, [&](int64_t image, int64_t head, int64_t, float* memory,
                                          int64_t begin, int64_t end) {
    const Head own(s, q, k, weights, scale, image, head, memory);
    const auto into = head_in(rows, image, head);
    for_each_tile(s, begin, end,
                  [&](int64_t first, int64_t n) { own.rows(first, n, into.columns(first)); });
  });
  return rows;
}

// Gradients of q, k, a, b and scales.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> fourier_rows_backward(
    const at::Tensor& grad, const at::Tensor& q, const at::Tensor& k, const at::Tensor& a,
    const at::Tensor& b, const std::optional<at::Tensor>& scales, double scale) {
  const Shape s(q, k, a);
  s.check(grad, "grad", s.outputs, s.queries);
  const Units units(s, a, b, scales);
  const at::Tensor weights = units.weights(), slopes = units.slopes();
  at::Tensor grad_q = at::empty(q.sizes(), q.options());
  at::Tensor grad_k = at::empty(k.sizes(), k.options());
  at::Tensor grad_weights = parts_of(s, {s.operators, s.of_operator()}, a);
  const size_t numbers = s.numbers() + s.outputs * s.tile;
  for_each_head(s, numbers, false, [&](int64_t image, int64_t head, int64_t thread,
                                       float* memory, int64_t begin, int64_t end) {
    const Head own(s, q, k, weights, scale, image, head, memory);
    const Matrix<float> unused{memory + s.numbers(), s.tile};
    const auto grad_rows = head_of(grad, image, head);
    const int64_t at = s.operator_of(head) * s.of_operator();
    float* into = grad_weights.mutable_data_ptr<float>() + thread * weights.numel() + at;
    for_each_tile(s, begin, end, [&](int64_t first, int64_t n) {
      own.rows(first, n, unused);
      own.backward(first, n, grad_rows.columns(first), slopes.const_data_ptr<float>() + at, into,
                   head_in(grad_q, image, head), head_in(grad_k, image, head));
    });
  });
  return std::tuple_cat(std::tuple{grad_q, grad_k}, units.backward(grad_weights));
}

// Wᵀ V of a head (R x D), where W is M x R.
void narrow_values(const Shape& s, Matrix<const float> v, const float* matrix, float* narrow) {
  gemm('T', 'N', s.outputs, s.width, s.keys, 1, matrix, s.outputs, v.start, v.stride, 0, narrow,
       s.width);
}

void check_values(const Shape& s, const at::Tensor& v, const at::Tensor& matrix) {
  s.check(v, "v", s.keys, s.width);
  TORCH_CHECK(matrix.is_contiguous() && matrix.dim() == 3 && matrix.size(0) == s.operators &&
                  matrix.size(1) == s.keys && matrix.size(2) == s.outputs,
              "W has shape ", matrix.sizes());
}

// Φ̂(A) (Wᵀ V), shape (B, H, N, D), memory layout (B, N, H, D); `matrix` is W, shape (P, M, R).
at::Tensor fourier_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& matrix, const at::Tensor& a, const at::Tensor& b,
                          const std::optional<at::Tensor>& scales, double scale) {
  const Shape s(q, k, a);
  check_values(s, v, matrix);
  const at::Tensor weights = Units(s, a, b, scales).weights();
  at::Tensor out =
      at::empty({s.images, s.queries, s.heads, s.width}, q.options()).transpose(1, 2);
  const size_t numbers = s.numbers() + s.outputs * (s.width + s.tile);
  for_each_head(s, numbers, true, [&](int64_t image, int64_t head, int64_t, float* memory,
                                      int64_t begin, int64_t end) {
    const Head own(s, q, k, weights, scale, image, head, memory);
    float* narrow = memory + s.numbers();
    float* rows = narrow + s.outputs * s.width;
    narrow_values(s, head_of(v, image, head),
                  matrix.const_data_ptr<float>() + s.operator_of(head) * s.keys * s.outputs,
                  narrow);
    const auto into = head_in(out, image, head);
    for_each_tile(s, begin, end, [&](int64_t first, int64_t n) {
      own.rows(first, n, {rows, n});
      gemm('T', 'N', n, s.width, s.outputs, 1, rows, n, narrow, s.width, 0, into.row(first),
           into.stride);
    });
  });
  return out;
}

// Gradients of W, a, b and scales; those of q, k and v are written into `grad_q`, `grad_k`, `grad_v`.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> fourier_attend_backward(
    const at::Tensor& grad, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& matrix, const at::Tensor& a, const at::Tensor& b,
    const std::optional<at::Tensor>& scales, double scale, const at::Tensor& grad_q,
    const at::Tensor& grad_k, const at::Tensor& grad_v) {
  const Shape s(q, k, a);
  check_values(s, v, matrix);
  s.check(grad, "grad", s.queries, s.width);
  const Units units(s, a, b, scales);
  const at::Tensor weights = units.weights(), slopes = units.slopes();
  at::Tensor grad_weights = parts_of(s, {s.operators, s.of_operator()}, a);
  at::Tensor grad_matrix = parts_of(s, {s.operators, s.keys, s.outputs}, a);
  const size_t numbers = s.numbers() + 2 * s.outputs * (s.width + s.queries);
  for_each_head(s, numbers, false, [&](int64_t image, int64_t head, int64_t thread,
                                       float* memory, int64_t begin, int64_t end) {
    const Head own(s, q, k, weights, scale, image, head, memory);
    float* narrow = memory + s.numbers();
    float* grad_narrow = narrow + s.outputs * s.width;
    float* rows = grad_narrow + s.outputs * s.width;
    float* grad_rows = rows + s.outputs * s.queries;
    const auto values = head_of(v, image, head), above = head_of(grad, image, head);
    const auto head_v = head_in(grad_v, image, head);
    const int64_t of_operator = s.operator_of(head) * s.of_operator();
    const int64_t of_product = s.operator_of(head) * s.keys * s.outputs;
    const float* w = matrix.const_data_ptr<float>() + of_product;
    float* into_weights =
        grad_weights.mutable_data_ptr<float>() + thread * weights.numel() + of_operator;
    float* into_matrix = grad_matrix.mutable_data_ptr<float>() + thread * matrix.numel() + of_product;

    narrow_values(s, values, w, narrow);
    gemm('N', 'T', s.outputs, s.queries, s.width, 1, narrow, s.width, above.start, above.stride, 0,
         grad_rows, s.queries);
    for_each_tile(s, begin, end, [&](int64_t first, int64_t n) {
      own.rows(first, n, {rows + first, s.queries});
      own.backward(first, n, {grad_rows + first, s.queries},
                   slopes.const_data_ptr<float>() + of_operator, into_weights,
                   head_in(grad_q, image, head), head_in(grad_k, image, head));
    });
    gemm('N', 'N', s.outputs, s.width, s.queries, 1, rows, s.queries, above.start, above.stride, 0,
         grad_narrow, s.width);
    gemm('N', 'N', s.keys, s.width, s.outputs, 1, w, s.outputs, grad_narrow, s.width, 0,
         head_v.start, head_v.stride);
    gemm('N', 'T', s.keys, s.outputs, s.width, 1, values.start, values.stride, grad_narrow, s.width,
         1, into_matrix, s.outputs);
  });
  return std::tuple_cat(std::tuple{grad_matrix.sum(0)}, units.backward(grad_weights));
}

}  // namespace

TORCH_LIBRARY(karat_native, m) {
  m.def(
      "fourier_rows(Tensor q, Tensor k, Tensor a, Tensor b, Tensor? scales, float scale) -> Tensor",
      &fourier_rows);
  m.def(
      "fourier_rows_backward(Tensor grad, Tensor q, Tensor k, Tensor a, Tensor b, Tensor? scales, "
      "float scale) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
      &fourier_rows_backward);
  m.def(
      "fourier_attend(Tensor q, Tensor k, Tensor v, Tensor matrix, Tensor a, Tensor b, "
      "Tensor? scales, float scale) -> Tensor",
      &fourier_attend);
  m.def(
      "fourier_attend_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor matrix, "
      "Tensor a, Tensor b, Tensor? scales, float scale, Tensor(a!) grad_q, Tensor(b!) grad_k, "
      "Tensor(c!) grad_v) -> (Tensor, Tensor, Tensor, Tensor)",
      &fourier_attend_backward);
}
