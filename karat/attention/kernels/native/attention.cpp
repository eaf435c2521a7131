// Units and their gradients on the CPU, without all scores or features in memory: the rows Φ̂(A), and
// the whole attention Φ̂(A) (Wᵀ V), with operands in the layout of the qkv projection.
//
// For one image and head, the functions process a tile at a time, some queries with some keys: scores,
// then all features of a score in one pass, then the products with the weights, summed in registers;
// or, for units that share no features, each unit of each score in registers. A tile fits into the
// second-level cache. Images and heads are distributed over threads. What a feature or a unit is
// comes from a generated library, see basis.h.
//
// Shapes: B images, H heads, N queries, M keys, D head width, P operators, R outputs, F features,
// X = M F, C coefficients of a unit; K keys and T queries in a tile, T a multiple of the lanes of a
// vector. In a tile the numbers of one key are side by side: scores K x T, features K x F x T.
// Everything is float32; each head of a tensor must be a row-major matrix, with any strides between
// heads.

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

#include "basis.h"

// BLAS as linked into torch; it expects column-major matrices.
extern "C" void sgemm_(const char*, const char*, const int*, const int*, const int*, const float*,
                       const float*, const int*, const float*, const int*, const float*, float*,
                       const int*);

namespace {

using karat::Basis;
using karat::Floats;
using karat::kLanes;
using karat::vector_at;

constexpr int64_t kTileBytes = 400 * 1024;  // of a second-level cache of 512 KiB or more
constexpr int64_t kFeatureQueries = 64;
constexpr int64_t kUnitQueries = 256;

// c (m x n) = alpha op(a) op(b) + beta c, row-major, where op(a) is m x k.
void gemm(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  const int im = m, in = n, ik = k, ia = lda, ib = ldb, ic = ldc;
  sgemm_(&tb, &ta, &in, &im, &ik, &alpha, b, &ib, a, &ia, &beta, c, &ic);
}

// Adds the sums over `count` features to R outputs of a vector of queries: rows_r += sum_x
// weights_xr feature_x. Consecutive features are `tile` numbers apart, their weights `outputs`.
template <int R>
void sum_rows(const float* features, int64_t tile, const float* weights, int64_t outputs,
              int64_t count, float* rows) {
  Floats sums[R];
  for (int r = 0; r < R; ++r) sums[r] = vector_at(rows + r * tile);
  for (int64_t x = 0; x < count; ++x) {
    const Floats feature = vector_at(features + x * tile);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r] += feature * weights[x * outputs + r];
  }
  for (int r = 0; r < R; ++r) vector_at(rows + r * tile) = sums[r];
}

// Adds the contribution of R outputs to the gradients of the scores with `keys` keys, for a vector
// of queries: grad_m += sum_f feature_mf sum_r slopes_mfr above_r.
template <int R>
void pull_back(const float* features, int64_t tile, const float* slopes, int64_t outputs,
               int64_t keys, int64_t count, const float* above, float* grad_scores) {
  Floats own[R];
  for (int r = 0; r < R; ++r) own[r] = vector_at(above + r * tile);
  for (int64_t m = 0; m < keys; ++m) {
    Floats sum = vector_at(grad_scores + m * tile);
    for (int64_t x = m * count; x < (m + 1) * count; ++x) {
      const float* slope = slopes + x * outputs;
      Floats pulled = own[0] * slope[0];
#pragma GCC unroll 16
      for (int r = 1; r < R; ++r) pulled += own[r] * slope[r];
      sum += pulled * vector_at(features + x * tile);
    }
    vector_at(grad_scores + m * tile) = sum;
  }
}

// One instance for each number of outputs whose sums fit into registers.
constexpr int64_t kOutputs = 12;

template <int... R>
constexpr auto summers(std::integer_sequence<int, R...>) {
  return std::array{&sum_rows<R + 1>...};
}
template <int... R>
constexpr auto pullers(std::integer_sequence<int, R...>) {
  return std::array{&pull_back<R + 1>...};
}
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
  const Basis& basis;
  int64_t images, heads, queries, keys, width, operators, outputs, features, coefficients;
  int64_t tile, tile_keys;  // the most queries and keys in a tile

  // `some` is any coefficient of the units, shape (P, R, M, ...).
  Shape(const Basis& basis, const at::Tensor& q, const at::Tensor& k, const at::Tensor& some)
      : basis(basis),
        images(q.size(0)),
        heads(q.size(1)),
        queries(q.size(2)),
        keys(k.size(2)),
        width(q.size(3)),
        operators(some.size(0)),
        outputs(some.size(1)),
        features(basis.features),
        coefficients(basis.coefficients) {
    TORCH_CHECK(basis.version == karat::kBasisVersion && basis.lanes == kLanes,
                "the basis was compiled for another version or processor");
    TORCH_CHECK(some.size(2) == keys, "units for another number of keys");
    TORCH_CHECK(operators > 0 && heads % operators == 0, heads, " heads, ", operators,
                " operators");
    check(k, "k", keys, width);
    // Many queries, since the weights of a key are read once per tile, and no more keys than fit. Tiles
    // of about the same size: products with few queries are slow.
    const int64_t about = has_units() ? kUnitQueries : kFeatureQueries;
    const int64_t tiles = std::max<int64_t>(1, (queries + about / 2) / about);
    tile = std::max<int64_t>(kLanes, whole_vectors((queries + tiles - 1) / tiles));
    const int64_t of_key = (features + 1 + has_units()) * tile * sizeof(float);
    const int64_t parts = (keys * of_key + kTileBytes - 1) / kTileBytes;
    tile_keys = (keys + parts - 1) / std::max<int64_t>(1, parts);
  }

  static int64_t whole_vectors(int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }
  // Refuse a tensor that is not (B, H, rows, columns).
  void check(const at::Tensor& x, const char* name, int64_t rows, int64_t columns) const {
    TORCH_CHECK(x.dim() == 4 && x.size(0) == images && x.size(1) == heads &&
                    x.size(2) == rows && x.size(3) == columns,
                name, " has shape ", x.sizes(), "; expected [", images, ", ", heads, ", ", rows,
                ", ", columns, "]");
  }

  bool has_units() const { return coefficients > 0; }
  int64_t row() const { return features * keys; }
  int64_t weights() const { return outputs * row(); }                     // of an operator
  int64_t units() const { return keys * outputs * coefficients; }         // of an operator
  int64_t operator_of(int64_t head) const { return head / (heads / operators); }
  // Numbers of a tile: rows, their gradient, scores, features; with units also the gradient of the
  // scores, which otherwise takes the place of the scores.
  size_t numbers() const {
    return (2 * outputs + tile_keys * (1 + features + has_units())) * tile;
  }
};

// The parameters of the units: coefficients (P, R, M, own) or (P, R, M), scales (P, R, M)
// of the units and of the base activation, or none. They are packed for the loops over a tile.
struct Parameters {
  const Shape& s;
  std::vector<at::Tensor> sources;  // coefficients, contiguous, (P, R, M, own)
  std::vector<bool> single;         // which of them were (P, R, M)
  std::optional<at::Tensor> unit_scale, base_scale;

  Parameters(const Shape& s, const at::TensorList& coefficients,
             const std::optional<at::Tensor>& unit_scale,
             const std::optional<at::Tensor>& base_scale)
      : s(s) {
    int64_t own = s.has_units() ? unit_scale.has_value() : s.basis.has_base;
    for (const at::Tensor& each : coefficients) {
      single.push_back(each.dim() == 3);
      const at::Tensor wide = single.back() ? each.unsqueeze(3) : each;
      TORCH_CHECK(wide.dim() == 4 && wide.size(0) == s.operators && wide.size(1) == s.outputs &&
                      wide.size(2) == s.keys,
                  "a coefficient has shape ", each.sizes());
      sources.push_back(wide.contiguous());
      own += wide.size(3);
    }
    TORCH_CHECK(own == (s.has_units() ? s.coefficients : s.features),
                "the basis was compiled for other settings");
    if (unit_scale) this->unit_scale = unit_scale->contiguous();
    if (base_scale) this->base_scale = base_scale->contiguous();
  }

  // The weights of features, shape (P, X, R), or those of their derivatives.
  at::Tensor weights(const float* slopes = nullptr) const {
    at::Tensor found = at::empty({s.operators, s.row(), s.outputs}, like().options());
    float* into = found.mutable_data_ptr<float>();
    const float* scale = data(unit_scale);
    const float* base = data(base_scale);
    at::parallel_for(0, s.operators * s.keys, 16, [&](int64_t begin, int64_t end) {
      std::vector<float> plain(s.features);
      for (int64_t key = begin; key < end; ++key) {
        float* first = into + key * s.features * s.outputs;
        for (int64_t r = 0; r < s.outputs; ++r) {
          const int64_t unit = unit_of(key, r);
          int64_t f = 0;
          if (!s.has_units())
            for (const at::Tensor& source : sources)
              for (int64_t own = 0; own < source.size(3); ++own)
                plain[f++] = source.const_data_ptr<float>()[unit * source.size(3) + own] *
                             (scale ? scale[unit] : 1);
          if (s.basis.has_base) plain[f] = base ? base[unit] : 1;
          for (int64_t g = 0; g < s.features; ++g) {
            float weight = plain[g];
            if (slopes) {
              weight = 0;
              for (int64_t h = 0; h < s.features; ++h)
                weight += slopes[h * s.features + g] * plain[h];
            }
            first[g * s.outputs + r] = weight;
          }
        }
      }
    });
    return found;
  }

  // The coefficients of units that are evaluated by themselves, their scale last: (P, M, R, C).
  at::Tensor units() const {
    at::Tensor found =
        at::empty({s.operators, s.keys, s.outputs, s.coefficients}, like().options());
    if (!s.has_units()) return found;
    float* into = found.mutable_data_ptr<float>();
    const float* scale = data(unit_scale);
    at::parallel_for(0, s.operators * s.keys, 16, [&](int64_t begin, int64_t end) {
      for (int64_t key = begin; key < end; ++key)
        for (int64_t r = 0; r < s.outputs; ++r) {
          const int64_t unit = unit_of(key, r);
          float* own = into + (key * s.outputs + r) * s.coefficients;
          for (const at::Tensor& source : sources)
            own = std::copy_n(source.const_data_ptr<float>() + unit * source.size(3),
                              source.size(3), own);
          if (scale) *own = scale[unit];
        }
    });
    return found;
  }

  // Gradients of the scales of units and base, where given, and of each coefficient, from partial
  // sums of those of the weights (threads, P, R, X) and of the units (threads, P, M, R, C).
  std::vector<at::Tensor> backward(const at::Tensor& of_weights, const at::Tensor& of_units) const {
    const auto grad_scale = empty_like(unit_scale), grad_base = empty_like(base_scale);
    std::vector<at::Tensor> grads;
    for (const at::Tensor& source : sources) grads.push_back(at::empty_like(source));
    at::parallel_for(0, s.operators * s.outputs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin * s.keys; unit < end * s.keys; ++unit) {
        if (s.has_units())
          unpack_unit(unit, of_units, grads, grad_scale);
        else
          unpack_weights(unit, of_weights, grads, grad_scale);
        if (grad_base)
          grad_base->mutable_data_ptr<float>()[unit] = weight_sum(of_weights, unit, s.features - 1);
      }
    });
    std::vector<at::Tensor> all;
    if (grad_scale) all.push_back(*grad_scale);
    if (grad_base) all.push_back(*grad_base);
    for (size_t i = 0; i < grads.size(); ++i)
      all.push_back(single[i] ? grads[i].squeeze(3) : grads[i]);
    return all;
  }

 private:
  const at::Tensor& like() const { return sources.front(); }

  static const float* data(const std::optional<at::Tensor>& x) {
    return x ? x->const_data_ptr<float>() : nullptr;
  }
  static std::optional<at::Tensor> empty_like(const std::optional<at::Tensor>& x) {
    return x ? std::optional(at::empty_like(*x)) : std::nullopt;
  }

  // The number of the unit of output r in a (P, R, M) tensor, where `key` counts (P, M).
  int64_t unit_of(int64_t key, int64_t r) const {
    return (key / s.keys * s.outputs + r) * s.keys + key % s.keys;
  }

  // The sum over threads of the gradient of a weight of a unit.
  float weight_sum(const at::Tensor& parts, int64_t unit, int64_t feature) const {
    const float* first = parts.const_data_ptr<float>() + unit * s.features + feature;
    float total = 0;
    for (int64_t t = 0; t < parts.size(0); ++t) total += first[t * parts.stride(0)];
    return total;
  }

  void unpack_weights(int64_t unit, const at::Tensor& parts, const std::vector<at::Tensor>& grads,
                      const std::optional<at::Tensor>& grad_scale) const {
    const float* scale = data(unit_scale);
    float of_scale = 0;
    int64_t f = 0;
    for (size_t i = 0; i < grads.size(); ++i) {
      const int64_t count = grads[i].size(3);
      const float* own = sources[i].const_data_ptr<float>() + unit * count;
      float* into = grads[i].mutable_data_ptr<float>() + unit * count;
      for (int64_t j = 0; j < count; ++j) {
        const float of_weight = weight_sum(parts, unit, f++);
        of_scale += of_weight * own[j];
        into[j] = scale ? of_weight * scale[unit] : of_weight;
      }
    }
    if (grad_scale) grad_scale->mutable_data_ptr<float>()[unit] = of_scale;
  }

  void unpack_unit(int64_t unit, const at::Tensor& parts, const std::vector<at::Tensor>& grads,
                   const std::optional<at::Tensor>& grad_scale) const {
    const int64_t p = unit / s.keys / s.outputs, r = unit / s.keys % s.outputs, m = unit % s.keys;
    const float* first = parts.const_data_ptr<float>() +
                         ((p * s.keys + m) * s.outputs + r) * s.coefficients;
    const auto next = [&] {
      float total = 0;
      for (int64_t t = 0; t < parts.size(0); ++t) total += first[t * parts.stride(0)];
      ++first;
      return total;
    };
    for (const at::Tensor& grad : grads)
      for (int64_t j = 0; j < grad.size(3); ++j)
        grad.mutable_data_ptr<float>()[unit * grad.size(3) + j] = next();
    if (grad_scale) grad_scale->mutable_data_ptr<float>()[unit] = next();
  }
};

// Memory of this thread, reused by later calls.
float* scratch(size_t numbers) {
  thread_local std::vector<float> memory;
  if (memory.size() < numbers) memory.resize(numbers);
  return memory.data();
}

// Packed parameters, of one operator.
struct Packed {
  const float *weights, *slopes;  // X x R
  const float* units;             // M x R x C
};

// One head of one image, and the memory for a tile.
struct Head {
  const Shape& s;
  Matrix<const float> q, k;
  Packed own;
  float scale;
  float *tile_rows, *above, *scores, *features, *grad_scores;

  Head(const Shape& s, const at::Tensor& q, const at::Tensor& k, const Packed& own, double scale,
       int64_t image, int64_t head, float* memory)
      : s(s),
        q(head_of(q, image, head)),
        k(head_of(k, image, head)),
        own(own),
        scale(scale),
        tile_rows(memory),
        above(tile_rows + s.outputs * s.tile),
        scores(above + s.outputs * s.tile),
        features(scores + s.tile_keys * s.tile),
        grad_scores(s.has_units() ? features + s.tile_keys * s.features * s.tile : scores) {}

  // Rows (R x n) of the `n` queries from `first`.
  void rows(int64_t first, int64_t n, Matrix<float> rows) const {
    const int64_t tile = Shape::whole_vectors(n);
    std::fill_n(tile_rows, s.outputs * tile, 0.0f);
    for (int64_t m = 0; m < s.keys; m += s.tile_keys) {
      const int64_t keys = std::min(s.tile_keys, s.keys - m);
      prepare(first, n, m, keys);
      if (s.features) sum_features(tile, m, keys);
      if (s.has_units())
        s.basis.add_units(scores, tile, units_of(m), keys, s.outputs, tile_rows);
    }
    put_rows(n, rows);
  }

  // Rows as above, unless there is no place for them, and gradients, given that of the rows. Gradients of the weights (R x X) and of the
  // units (M x R x C) are added to; those of the keys are overwritten by the first tile.
  void backward(int64_t first, int64_t n, Matrix<const float> grad, Matrix<float> rows,
                float* grad_weights, float* grad_units, Matrix<float> grad_q,
                Matrix<float> grad_k) const {
    const int64_t tile = Shape::whole_vectors(n);
    std::fill_n(tile_rows, s.outputs * tile, 0.0f);
    for (int64_t r = 0; r < s.outputs; ++r) {
      std::copy_n(grad.row(r), n, above + r * tile);
      std::fill_n(above + r * tile + n, tile - n, 0.0f);
    }
    for (int64_t m = 0; m < s.keys; m += s.tile_keys) {
      const int64_t keys = std::min(s.tile_keys, s.keys - m);
      prepare(first, n, m, keys);
      if (s.features) {
        if (rows.start) sum_features(tile, m, keys);
        gemm('N', 'T', s.outputs, keys * s.features, n, 1, above, tile, features, tile, 1,
             grad_weights + m * s.features, s.row());
        if (s.basis.write_slopes) s.basis.write_slopes(scores, features, keys, tile);
      }
      std::fill_n(grad_scores, keys * tile, 0.0f);  // may be the scores themselves
      if (s.features) pull_features(tile, m, keys);
      if (s.has_units())
        s.basis.pull_units(scores, tile, units_of(m), keys, s.outputs, above, tile_rows,
                           grad_scores, grad_units + m * s.outputs * s.coefficients);
      gemm('T', 'N', n, s.width, keys, scale, grad_scores, tile, k.row(m), k.stride, m ? 1 : 0,
           grad_q.row(first), grad_q.stride);
      gemm('N', 'N', keys, s.width, n, scale, grad_scores, tile, q.row(first), q.stride,
           first ? 1 : 0, grad_k.row(m), grad_k.stride);
    }
    if (rows.start) put_rows(n, rows);
  }

 private:
  // Scores and features of `n` queries from `first` and `keys` keys from `m`.
  void prepare(int64_t first, int64_t n, int64_t m, int64_t keys) const {
    const int64_t tile = Shape::whole_vectors(n);
    if (n < tile)  // numbers after the last query have no effect, but must be finite
      for (int64_t key = 0; key < keys; ++key) std::fill_n(scores + key * tile + n, tile - n, 0.0f);
    gemm('N', 'T', keys, n, s.width, scale, k.row(m), k.stride, q.row(first), q.stride, 0, scores,
         tile);
    if (s.features) s.basis.write_features(scores, features, keys, tile);
  }

  const float* units_of(int64_t m) const { return own.units + m * s.outputs * s.coefficients; }

  void sum_features(int64_t tile, int64_t m, int64_t keys) const {
    const float* weights = own.weights + m * s.features * s.outputs;
    for (int64_t i = 0; i < tile; i += kLanes)
      for (int64_t r = 0; r < s.outputs; r += kOutputs)
        kSummers[std::min(kOutputs, s.outputs - r) - 1](features + i, tile, weights + r, s.outputs,
                                                        keys * s.features, tile_rows + r * tile + i);
  }

  void pull_features(int64_t tile, int64_t m, int64_t keys) const {
    const float* slopes = own.slopes + m * s.features * s.outputs;
    for (int64_t i = 0; i < tile; i += kLanes)
      for (int64_t r = 0; r < s.outputs; r += kOutputs)
        kPullers[std::min(kOutputs, s.outputs - r) - 1](features + i, tile, slopes + r, s.outputs,
                                                        keys, s.features, above + r * tile + i,
                                                        grad_scores + i);
  }

  void put_rows(int64_t n, Matrix<float> rows) const {
    const int64_t tile = Shape::whole_vectors(n);
    for (int64_t r = 0; r < s.outputs; ++r) std::copy_n(tile_rows + r * tile, n, rows.row(r));
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

// The parameters of all operators, packed.
struct AllPacked {
  const Shape& s;
  at::Tensor weights, slopes, units;

  AllPacked(const Shape& s, const Parameters& parameters, bool for_gradients)
      : s(s), weights(parameters.weights()), units(parameters.units()) {
    slopes = for_gradients && s.basis.slopes ? parameters.weights(s.basis.slopes) : weights;
  }

  Packed of(int64_t head) const {
    const int64_t p = s.operator_of(head);
    return {weights.const_data_ptr<float>() + p * s.weights(),
            slopes.const_data_ptr<float>() + p * s.weights(),
            units.const_data_ptr<float>() + p * s.units()};
  }
};

// Partial sums of the gradients of the packed parameters, one for each thread.
struct GradParts {
  const Shape& s;
  at::Tensor weights, units;

  GradParts(const Shape& s, const at::Tensor& like)
      : s(s),
        weights(parts_of(s, {s.operators, s.weights()}, like)),
        units(parts_of(s, {s.operators, s.units()}, like)) {}

  float* weights_of(int64_t thread, int64_t head) const {
    return weights.mutable_data_ptr<float>() +
           (thread * s.operators + s.operator_of(head)) * s.weights();
  }
  float* units_of(int64_t thread, int64_t head) const {
    return units.mutable_data_ptr<float>() +
           (thread * s.operators + s.operator_of(head)) * s.units();
  }
};

// The address of a `Basis` in a generated library, as an integer.
const Basis& basis_at(int64_t address) { return *reinterpret_cast<const Basis*>(address); }

at::Tensor rows(const at::Tensor& q, const at::Tensor& k, at::TensorList coefficients,
                const std::optional<at::Tensor>& unit_scale,
                const std::optional<at::Tensor>& base_scale, double scale, int64_t basis) {
  const Shape s(basis_at(basis), q, k, coefficients.front());
  const AllPacked packed(s, Parameters(s, coefficients, unit_scale, base_scale), false);
  at::Tensor rows = at::empty({s.images, s.heads, s.outputs, s.queries}, q.options());
  for_each_head(s, s.numbers(), true, [&](int64_t image, int64_t head, int64_t, float* memory,
                                          int64_t begin, int64_t end) {
    const Head own(s, q, k, packed.of(head), scale, image, head, memory);
    const auto into = head_in(rows, image, head);
    for_each_tile(s, begin, end,
                  [&](int64_t first, int64_t n) { own.rows(first, n, into.columns(first)); });
  });
  return rows;
}

// Gradients of q, k and the parameters.
std::vector<at::Tensor> rows_backward(const at::Tensor& grad, const at::Tensor& q,
                                      const at::Tensor& k, at::TensorList coefficients,
                                      const std::optional<at::Tensor>& unit_scale,
                                      const std::optional<at::Tensor>& base_scale, double scale,
                                      int64_t basis) {
  const Shape s(basis_at(basis), q, k, coefficients.front());
  s.check(grad, "grad", s.outputs, s.queries);
  const Parameters parameters(s, coefficients, unit_scale, base_scale);
  const AllPacked packed(s, parameters, true);
  const GradParts parts(s, coefficients.front());
  at::Tensor grad_q = at::empty(q.sizes(), q.options());
  at::Tensor grad_k = at::empty(k.sizes(), k.options());
  for_each_head(s, s.numbers(), false, [&](int64_t image, int64_t head, int64_t thread,
                                           float* memory, int64_t begin, int64_t end) {
    const Head own(s, q, k, packed.of(head), scale, image, head, memory);
    const Matrix<float> unused{nullptr, 0};
    const auto grad_rows = head_of(grad, image, head);
    for_each_tile(s, begin, end, [&](int64_t first, int64_t n) {
      own.backward(first, n, grad_rows.columns(first), unused, parts.weights_of(thread, head),
                   parts.units_of(thread, head), head_in(grad_q, image, head),
                   head_in(grad_k, image, head));
    });
  });
  std::vector<at::Tensor> found{grad_q, grad_k};
  for (at::Tensor& each : parameters.backward(parts.weights, parts.units))
    found.push_back(std::move(each));
  return found;
}

// Wᵀ V of the heads, R x D for each, where W is M x R; or V itself, R x D, where there is no W.
struct Narrow {
  const Shape& s;
  const at::Tensor& v;
  int64_t width;             // D of the values
  const float* matrix;       // of all operators, or none

  Narrow(const Shape& s, const at::Tensor& v, const std::optional<at::Tensor>& matrix)
      : s(s),
        v(v),
        width(v.size(3)),
        matrix(matrix ? matrix->const_data_ptr<float>() : nullptr) {
    s.check(v, "v", matrix ? s.keys : s.outputs, width);
    if (matrix)
      TORCH_CHECK(matrix->is_contiguous() && matrix->dim() == 3 &&
                      matrix->size(0) == s.operators && matrix->size(1) == s.keys &&
                      matrix->size(2) == s.outputs,
                  "W has shape ", matrix->sizes());
  }

  // Where the W of a head begins, in a tensor of that of all operators.
  int64_t place_of(int64_t head) const { return s.operator_of(head) * s.keys * s.outputs; }

  // Of one head; `memory` holds R x D numbers.
  Matrix<const float> of(int64_t image, int64_t head, float* memory) const {
    const auto values = head_of(v, image, head);
    if (!matrix) return values;
    gemm('T', 'N', s.outputs, width, s.keys, 1, matrix + place_of(head), s.outputs, values.start,
         values.stride, 0, memory, width);
    return {memory, width};
  }
};

// Φ̂(A) (Wᵀ V), shape (B, H, N, D), memory layout (B, N, H, D); `matrix` is W, shape (P, M, R), with
// values (B, H, M, D). Without W it is Φ(A) V, with values (B, H, R, D).
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const std::optional<at::Tensor>& matrix, at::TensorList coefficients,
                  const std::optional<at::Tensor>& unit_scale,
                  const std::optional<at::Tensor>& base_scale, double scale, int64_t basis) {
  const Shape s(basis_at(basis), q, k, coefficients.front());
  const Narrow values(s, v, matrix);
  const AllPacked packed(s, Parameters(s, coefficients, unit_scale, base_scale), false);
  at::Tensor out =
      at::empty({s.images, s.queries, s.heads, values.width}, q.options()).transpose(1, 2);
  const size_t numbers = s.numbers() + s.outputs * (values.width + s.tile);
  for_each_head(s, numbers, true, [&](int64_t image, int64_t head, int64_t, float* memory,
                                      int64_t begin, int64_t end) {
    const Head own(s, q, k, packed.of(head), scale, image, head, memory);
    float* rows = memory + s.numbers() + s.outputs * values.width;
    const auto narrow = values.of(image, head, memory + s.numbers());
    const auto into = head_in(out, image, head);
    for_each_tile(s, begin, end, [&](int64_t first, int64_t n) {
      own.rows(first, n, {rows, n});
      gemm('T', 'N', n, values.width, s.outputs, 1, rows, n, narrow.start, narrow.stride, 0,
           into.row(first), into.stride);
    });
  });
  return out;
}

// Gradients of W, if there is one, and of the parameters; those of q, k and v are written into
// `grad_q`, `grad_k`, `grad_v`.
std::vector<at::Tensor> attend_backward(
    const at::Tensor& grad, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& matrix, at::TensorList coefficients,
    const std::optional<at::Tensor>& unit_scale, const std::optional<at::Tensor>& base_scale,
    double scale, int64_t basis, const at::Tensor& grad_q, const at::Tensor& grad_k,
    const at::Tensor& grad_v) {
  const Shape s(basis_at(basis), q, k, coefficients.front());
  const Narrow values(s, v, matrix);
  s.check(grad, "grad", s.queries, values.width);
  const Parameters parameters(s, coefficients, unit_scale, base_scale);
  const AllPacked packed(s, parameters, true);
  const GradParts parts(s, coefficients.front());
  const int64_t width = values.width;
  std::optional<at::Tensor> grad_matrix;
  if (matrix) grad_matrix = parts_of(s, {s.operators, s.keys, s.outputs}, *matrix);
  const size_t numbers = s.numbers() + 2 * s.outputs * (width + s.queries);
  for_each_head(s, numbers, false, [&](int64_t image, int64_t head, int64_t thread,
                                       float* memory, int64_t begin, int64_t end) {
    const Head own(s, q, k, packed.of(head), scale, image, head, memory);
    float* grad_narrow = memory + s.numbers() + s.outputs * width;
    float* rows = grad_narrow + s.outputs * width;
    float* grad_rows = rows + s.outputs * s.queries;
    const auto narrow = values.of(image, head, memory + s.numbers());
    const auto above = head_of(grad, image, head);
    const auto head_v = head_in(grad_v, image, head);

    gemm('N', 'T', s.outputs, s.queries, width, 1, narrow.start, narrow.stride, above.start,
         above.stride, 0, grad_rows, s.queries);
    for_each_tile(s, begin, end, [&](int64_t first, int64_t n) {
      own.backward(first, n, {grad_rows + first, s.queries}, {rows + first, s.queries},
                   parts.weights_of(thread, head), parts.units_of(thread, head),
                   head_in(grad_q, image, head), head_in(grad_k, image, head));
    });
    const auto of_narrow = matrix ? Matrix<float>{grad_narrow, width} : head_v;
    gemm('N', 'N', s.outputs, width, s.queries, 1, rows, s.queries, above.start, above.stride, 0,
         of_narrow.start, of_narrow.stride);
    if (!matrix) return;
    const auto head_values = head_of(v, image, head);
    gemm('N', 'N', s.keys, width, s.outputs, 1, values.matrix + values.place_of(head), s.outputs,
         grad_narrow, width, 0, head_v.start, head_v.stride);
    float* into = grad_matrix->mutable_data_ptr<float>() + thread * matrix->numel();
    gemm('N', 'T', s.keys, s.outputs, width, 1, head_values.start, head_values.stride, grad_narrow,
         width, 1, into + values.place_of(head), s.outputs);
  });
  std::vector<at::Tensor> found;
  if (matrix) found.push_back(grad_matrix->sum(0));
  for (at::Tensor& each : parameters.backward(parts.weights, parts.units))
    found.push_back(std::move(each));
  return found;
}

}  // namespace

TORCH_LIBRARY(karat_native, m) {
  m.def(
      "rows(Tensor q, Tensor k, Tensor[] coefficients, Tensor? unit_scale, Tensor? base_scale, "
      "float scale, int basis) -> Tensor",
      &rows);
  m.def(
      "rows_backward(Tensor grad, Tensor q, Tensor k, Tensor[] coefficients, Tensor? unit_scale, "
      "Tensor? base_scale, float scale, int basis) -> Tensor[]",
      &rows_backward);
  m.def(
      "attend(Tensor q, Tensor k, Tensor v, Tensor? matrix, Tensor[] coefficients, "
      "Tensor? unit_scale, Tensor? base_scale, float scale, int basis) -> Tensor",
      &attend);
  m.def(
      "attend_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor? matrix, "
      "Tensor[] coefficients, Tensor? unit_scale, Tensor? base_scale, float scale, int basis, "
      "Tensor(a!) grad_q, Tensor(b!) grad_k, Tensor(c!) grad_v) -> Tensor[]",
      &attend_backward);
}
