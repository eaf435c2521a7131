// Rows of Fourier units on the CPU, and their gradients, without scores or features in memory.
//
// For one picture and head, a tile of queries at a time: scores, then all features of a score in
// one pass over them (one sine and cosine, the rest by angle addition), then one product with the
// weights. The tile stays in the second-level cache. Threads share pictures and heads.
//
// Shapes: B pictures, H heads, N queries, M keys, D head width, P operators, R outputs,
// F = 2 G features, X = F M; T queries in a tile. Everything is float32 and row-major.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>
#include <utility>
#include <vector>

// The one that torch brings; every matrix is column-major to it.
extern "C" void sgemm_(const char*, const char*, const int*, const int*, const int*, const float*,
                       const float*, const int*, const float*, const int*, const float*, float*,
                       const int*);

namespace {

constexpr int64_t kTileBytes = 600 * 1024;
constexpr int64_t kLargestGrid = 16;

void gemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  const int im = m, in = n, ik = k, ia = lda, ib = ldb, ic = ldc;
  sgemm_(&ta, &tb, &im, &in, &ik, &alpha, a, &ia, b, &ib, &beta, c, &ic);
}

// Reduction to [-pi/4, pi/4] in double, so that it holds for any score that float32 tells apart;
// polynomials of the Cephes library, within 1e-7.
inline void sine_and_cosine(float x, float& s, float& c) {
  const double quarters = std::nearbyint(static_cast<double>(x) * 0.63661977236758134308);
  const float r = static_cast<float>(static_cast<double>(x) - quarters * 1.57079632679489661923);
  const int quadrant = static_cast<int>(quarters);
  const float z = r * r;
  const float sine =
      r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f - z * 1.9515295891e-4f));
  const float cosine = 1.0f - 0.5f * z +
                       z * z *
                           (4.166664568298827e-2f +
                            z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f));
  const bool swap = quadrant & 1;
  const float sign_s = (quadrant & 2) ? -1.0f : 1.0f;
  const float sign_c = ((quadrant + 1) & 2) ? -1.0f : 1.0f;
  s = sign_s * (swap ? cosine : sine);
  c = sign_c * (swap ? sine : cosine);
}

// cos kx in features k - 1, sin kx in features G + k - 1, each `count` long.
template <int G>
void write_features(const float* scores, float* features, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    float s[G], c[G];
    sine_and_cosine(scores[i], s[0], c[0]);
#pragma GCC unroll 16
    for (int k = 2; k <= G; ++k) {
      const int low = k / 2 - 1, high = k - k / 2 - 1;  // errors grow with log k
      c[k - 1] = c[low] * c[high] - s[low] * s[high];
      s[k - 1] = s[low] * c[high] + c[low] * s[high];
    }
#pragma GCC unroll 16
    for (int k = 0; k < G; ++k) {
      features[k * count + i] = c[k];
      features[(G + k) * count + i] = s[k];
    }
  }
}

template <int F>
void pull_back(const float* features, const float* pulled, float* scores, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    float sum = 0;
#pragma GCC unroll 32
    for (int f = 0; f < F; ++f) sum += features[f * count + i] * pulled[f * count + i];
    scores[i] = sum;
  }
}

using Write = void (*)(const float*, float*, int64_t);
using Pull = void (*)(const float*, const float*, float*, int64_t);

template <int... G>
constexpr std::array<std::pair<Write, Pull>, sizeof...(G)> by_grid(
    std::integer_sequence<int, G...>) {
  return {{{write_features<G + 1>, pull_back<2 * (G + 1)>}...}};
}
const auto kByGrid = by_grid(std::make_integer_sequence<int, kLargestGrid>());

struct Shape {
  int64_t pictures, heads, queries, keys, width, operators, outputs, features, tile;

  Shape(const at::Tensor& q, const at::Tensor& k, const at::Tensor& weights)
      : pictures(q.size(0)),
        heads(q.size(1)),
        queries(q.size(2)),
        keys(k.size(2)),
        width(q.size(3)),
        operators(weights.size(0)),
        outputs(weights.size(1)),
        features(weights.size(2)) {
    TORCH_CHECK(features % 2 == 0 && features / 2 <= kLargestGrid, "grid size above 16");
    TORCH_CHECK(q.stride(3) == 1 && k.stride(3) == 1 && weights.is_contiguous());
    const int64_t of_query = (2 * features + 1) * keys * sizeof(float);
    tile = std::min(queries, std::max(int64_t{16}, kTileBytes / of_query / 16 * 16));
  }

  int64_t row() const { return features * keys; }
  int64_t weights_of(int64_t head) const {
    return head / (heads / operators) * outputs * row();
  }
};

// Memory of this thread, kept from call to call.
float* scratch(size_t numbers) {
  thread_local std::vector<float> memory;
  if (memory.size() < numbers) memory.resize(numbers);
  return memory.data();
}

const float* of_head(const at::Tensor& x, int64_t picture, int64_t head) {
  return x.const_data_ptr<float>() + picture * x.stride(0) + head * x.stride(1);
}

void tile_scores(const Shape& s, const at::Tensor& q, const at::Tensor& k, const float* of_q,
                 const float* of_k, int64_t count, float scale, float* scores) {
  gemm('T', 'N', count, s.keys, s.width, scale, of_q, q.stride(2), of_k, k.stride(2), 0, scores,
       count);
}

at::Tensor fourier_rows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& weights,
                        double scale) {
  const Shape s(q, k, weights);
  at::Tensor rows = at::empty({s.pictures, s.heads, s.outputs, s.queries}, weights.options());
  const Write write = kByGrid[s.features / 2 - 1].first;
  const float* of_weights = weights.const_data_ptr<float>();
  float* of_rows = rows.mutable_data_ptr<float>();
  const int64_t tiles = (s.queries + s.tile - 1) / s.tile;
  at::parallel_for(0, s.pictures * s.heads * tiles, 1, [&](int64_t begin, int64_t end) {
    float* scores = scratch((s.features + 1) * s.keys * s.tile);
    float* features = scores + s.keys * s.tile;
    for (int64_t task = begin; task < end; ++task) {
      const int64_t place = task / tiles, first = task % tiles * s.tile;
      const int64_t picture = place / s.heads, head = place % s.heads;
      const int64_t count = std::min(s.tile, s.queries - first);
      tile_scores(s, q, k, of_head(q, picture, head) + first * q.stride(2),
                  of_head(k, picture, head), count, scale, scores);
      write(scores, features, s.keys * count);
      gemm('N', 'N', count, s.outputs, s.row(), 1, features, count,
           of_weights + s.weights_of(head), s.row(), 0,
           of_rows + place * s.outputs * s.queries + first, s.queries);
    }
  });
  return rows;
}

// Gradients of q, k and weights, and the rows once more, which a product with them may need.
// `slopes` are the weights with which the same features give the derivative of a unit.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> fourier_rows_backward(
    const at::Tensor& grad, const at::Tensor& q, const at::Tensor& k, const at::Tensor& weights,
    const at::Tensor& slopes, double scale) {
  const Shape s(q, k, weights);
  TORCH_CHECK(grad.is_contiguous() && slopes.is_contiguous());
  at::Tensor grad_q = at::empty({s.pictures, s.heads, s.queries, s.width}, q.options());
  at::Tensor grad_k = at::empty({s.pictures, s.heads, s.keys, s.width}, k.options());
  at::Tensor rows = at::empty({s.pictures, s.heads, s.outputs, s.queries}, weights.options());
  const int64_t threads = at::get_num_threads();
  at::Tensor partial = at::zeros({threads, weights.numel()}, weights.options());
  const auto [write, pull] = kByGrid[s.features / 2 - 1];
  const float* of_slopes = slopes.const_data_ptr<float>();
  const float* of_grad = grad.const_data_ptr<float>();
  const float* of_weights = weights.const_data_ptr<float>();
  float* of_rows = rows.mutable_data_ptr<float>();
  float* of_grad_q = grad_q.mutable_data_ptr<float>();
  float* of_grad_k = grad_k.mutable_data_ptr<float>();
  float* of_partial = partial.mutable_data_ptr<float>();
  at::parallel_for(0, s.pictures * s.heads, 1, [&, write = write, pull = pull](int64_t begin,
                                                                              int64_t end) {
    float* scores = scratch((2 * s.features + 1) * s.keys * s.tile);
    float* features = scores + s.keys * s.tile;
    float* pulled = features + s.row() * s.tile;
    const int64_t thread = std::min<int64_t>(at::get_thread_num(), threads - 1);
    float* own = of_partial + thread * weights.numel();
    for (int64_t place = begin; place < end; ++place) {
      const int64_t picture = place / s.heads, head = place % s.heads;
      const float* of_k = of_head(k, picture, head);
      for (int64_t first = 0; first < s.queries; first += s.tile) {
        const int64_t count = std::min(s.tile, s.queries - first);
        const float* of_q = of_head(q, picture, head) + first * q.stride(2);
        const float* g = of_grad + place * s.outputs * s.queries + first;
        tile_scores(s, q, k, of_q, of_k, count, scale, scores);
        write(scores, features, s.keys * count);
        gemm('N', 'N', count, s.outputs, s.row(), 1, features, count,
             of_weights + s.weights_of(head), s.row(), 0,
             of_rows + place * s.outputs * s.queries + first, s.queries);
        gemm('T', 'N', s.row(), s.outputs, count, 1, features, count, g, s.queries, 1,
             own + s.weights_of(head), s.row());
        gemm('N', 'T', count, s.row(), s.outputs, 1, g, s.queries,
             of_slopes + s.weights_of(head), s.row(), 0, pulled, count);
        pull(features, pulled, scores, s.keys * count);
        gemm('N', 'T', s.width, count, s.keys, scale, of_k, k.stride(2), scores, count, 0,
             of_grad_q + (place * s.queries + first) * s.width, s.width);
        gemm('N', 'N', s.width, s.keys, count, scale, of_q, q.stride(2), scores, count,
             first ? 1 : 0, of_grad_k + place * s.keys * s.width, s.width);
      }
    }
  });
  return {grad_q, grad_k, partial.sum(0).view_as(weights), rows};
}

}  // namespace

TORCH_LIBRARY(karat_native, m) {
  m.def("fourier_rows(Tensor q, Tensor k, Tensor weights, float scale) -> Tensor", &fourier_rows);
  m.def(
      "fourier_rows_backward(Tensor grad, Tensor q, Tensor k, Tensor weights, Tensor slopes, "
      "float scale) -> (Tensor, Tensor, Tensor, Tensor)",
      &fourier_rows_backward);
}
