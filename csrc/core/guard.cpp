// SPDX-License-Identifier: Apache-2.0
#include "core/guard.hpp"

#include <cmath>
#include <numbers>

namespace pyperf {
namespace {

// The z with P(|Z| <= z) = confidence, by bisection: it is asked for at looks that find an interval narrow.
double normal_half_width(double confidence) {
  double low = 0.0;
  double high = 40.0;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2.0;
    (std::erf(middle / std::numbers::sqrt2) < confidence ? low : high) = middle;
  }
  return high;
}

}  // namespace

Guard guard_of(double confidence, double part) {
  const double guard = 1.0 - (1.0 - confidence) / part;
  return {guard, normal_half_width(guard) / normal_half_width(confidence)};
}

}  // namespace pyperf
