// What the attention needs to know about a basis: the functions that are generated from its formula
// (karat/attention/formulas/in_cpp.py), compiled into a library of their own.

#pragma once

#include <cstdint>

#include "vectors.h"

namespace karat {

constexpr int64_t kBasisVersion = 1;  // of this struct

// Shapes: K keys and T queries of a tile (T a multiple of the lanes), R outputs, F features, C
// coefficients of a unit. Scores, features and rows are K x T, K x F x T and R x T.
struct Basis {
  int64_t version, lanes;
  int64_t features;      // F: shared by all units, the base activation last; 0 for none
  int64_t coefficients;  // C of a unit that is evaluated by itself, its scale last; 0 for none
  int64_t has_base;      // whether the last feature is a base activation
  void (*write_features)(const float* scores, float* features, int64_t keys, int64_t tile);
  // Replaces the features by their derivatives. None if these are sums of the features themselves.
  void (*write_slopes)(const float* scores, float* features, int64_t keys, int64_t tile);
  const float* slopes;  // F x F: slope f is the sum of features g times slopes[f][g]; or none
  // Adds the units of a tile to the rows; coefficients are K x R x C.
  void (*add_units)(const float* scores, int64_t tile, const float* coefficients, int64_t keys,
                    int64_t outputs, float* rows);
  // The same, and adds the gradients of scores and coefficients, given that of the rows.
  void (*pull_units)(const float* scores, int64_t tile, const float* coefficients, int64_t keys,
                     int64_t outputs, const float* above, float* rows, float* grad_scores,
                     float* grad_coefficients);
};

// The loops over the units of a tile. `Unit` holds what does not depend on the score.
template <typename Unit>
void add_units(const float* scores, int64_t tile, const float* coefficients, int64_t keys,
               int64_t outputs, float* rows) {
  for (int64_t m = 0; m < keys; ++m)
    for (int64_t r = 0; r < outputs; ++r) {
      const Unit unit(coefficients + (m * outputs + r) * Unit::kCoefficients);
      for (int64_t i = 0; i < tile; i += kLanes)
        vector_at(rows + r * tile + i) += unit.value(vector_at(scores + m * tile + i));
    }
}

template <typename Unit>
void pull_units(const float* scores, int64_t tile, const float* coefficients, int64_t keys,
                int64_t outputs, const float* above, float* rows, float* grad_scores,
                float* grad_coefficients) {
  for (int64_t m = 0; m < keys; ++m)
    for (int64_t r = 0; r < outputs; ++r) {
      const int64_t at = (m * outputs + r) * Unit::kCoefficients;
      const Unit unit(coefficients + at);
      Floats sums[Unit::kSums] = {};
      for (int64_t i = 0; i < tile; i += kLanes) {
        Floats value, slope;
        unit.pull(vector_at(scores + m * tile + i), vector_at(above + r * tile + i), value, slope,
                  sums);
        vector_at(rows + r * tile + i) += value;
        vector_at(grad_scores + m * tile + i) += slope;
      }
      float totals[Unit::kSums];
      for (int a = 0; a < Unit::kSums; ++a) totals[a] = sum_of(sums[a]);
      unit.add_gradients(coefficients + at, totals, grad_coefficients + at);
    }
}

}  // namespace karat
