// SPDX-License-Identifier: Apache-2.0
#include "core/order_statistics.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace pyperf {
namespace {

double log_pmf(std::int64_t n, std::int64_t k, double p) {
  const auto trials = static_cast<double>(n);
  const auto hits = static_cast<double>(k);
  // lgamma_r, not lgamma: the latter writes a global that other threads write too.
  int sign = 0;
  const auto log_factorial = [&sign](double x) { return lgamma_r(x + 1.0, &sign); };
  return log_factorial(trials) - log_factorial(hits) - log_factorial(trials - hits) + hits * std::log(p) +
         (trials - hits) * std::log1p(-p);
}

// P(X <= k), X binomial(n, p), summed from k downwards until a term no longer counts: about sqrt(n) terms in a tail.
double lower_tail(std::int64_t n, std::int64_t k, double p) {
  if (k < 0) return 0.0;
  if (k >= n) return 1.0;
  double term = std::exp(log_pmf(n, k, p));
  double sum = 0.0;
  for (std::int64_t j = k; j >= 0; --j) {
    sum += term;
    if (term < sum * 1e-17) break;
    term *= static_cast<double>(j) * (1.0 - p) / (static_cast<double>(n - j + 1) * p);
  }
  return sum;
}

constexpr std::size_t kFewestBlocks = 5;  // below that their variance is noise

// 99% point of chi-square over its degrees of freedom. Source: E. B. Wilson and M. M. Hilferty, "The distribution of
// chi-square", PNAS 17 (1931).
double chi_square_99_over_freedom(double freedom) {
  constexpr double kNormal99 = 2.3263478740408408;
  const double width = 2.0 / (9.0 * freedom);
  return std::pow(1.0 - width + kNormal99 * std::sqrt(width), 3.0);
}

// 97.5% point of Student's t over that of the normal distribution. Source: Cornish-Fisher series, M. Abramowitz and I.
// A. Stegun, Handbook of Mathematical Functions, 26.7.5.
double t_over_normal(double freedom) {
  constexpr double z = 1.959963984540054;
  constexpr double z2 = z * z;
  const double f = freedom;
  return 1.0 + (z2 + 1.0) / (4.0 * f) + ((5.0 * z2 + 16.0) * z2 + 3.0) / (96.0 * f * f) +
         (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / (384.0 * f * f * f);
}

// How many of the first i samples are at most `value`, for i from 0 to n.
std::vector<std::int32_t> counts_below(std::span<const std::int64_t> samples, std::int64_t value) {
  std::vector<std::int32_t> counts(samples.size() + 1);
  for (std::size_t i = 0; i < samples.size(); ++i) counts[i + 1] = counts[i] + (samples[i] <= value ? 1 : 0);
  return counts;
}

// What neighbours alone tell: an AR(1) process of lag-1 correlation r makes (1 + r) / (1 - r) samples count as one. The
// estimate of r is 1/n too low on average, and counts only where it is above 90% of what independent samples give.
// Source of both: C. Chatfield, The Analysis of Time Series, 6th ed., 4.1.
double dependence_by_lag1(std::span<const std::int32_t> counts, double share) {
  constexpr double kNormal90 = 1.28;
  const std::size_t samples = counts.size() - 1;
  const auto n = static_cast<double>(samples);
  std::int64_t together = 0;  // neighbours that are both at most the value
  for (std::size_t i = 1; i < samples; ++i) together += counts[i + 1] - counts[i - 1] == 2 ? 1 : 0;
  const auto first = static_cast<double>(counts[1]);
  const auto last = static_cast<double>(counts[samples] - counts[samples - 1]);
  const double within = 2.0 * static_cast<double>(counts[samples]) - first - last;  // each pair's two, summed
  const double products = static_cast<double>(together) - share * within + (n - 1.0) * share * share;
  const double r = std::min(0.99, products / (n * share * (1.0 - share)) + 1.0 / n);
  return r > kNormal90 / std::sqrt(n) ? (1.0 + r) / (1.0 - r) : 1.0;
}

// The variance of the means of all blocks of so many neighbours, times their length, over what it is where samples are
// independent.
double overlapping_blocks(std::span<const std::int32_t> counts, std::size_t block, double share) {
  const std::size_t samples = counts.size() - 1;
  const double expected = share * static_cast<double>(block);
  double squares = 0.0;
  for (std::size_t i = 0; i + block <= samples; ++i) {
    const double off = static_cast<double>(counts[i + block] - counts[i]) - expected;
    squares += off * off;
  }
  const auto blocks = static_cast<double>(samples - block + 1);
  const auto length = static_cast<double>(block);
  const double ratio = squares / blocks / (length * share * (1.0 - share));
  return ratio / (1.0 - length / static_cast<double>(samples));
}

// P(X >= k) is P(n - X <= n - k), and n - X is binomial(n, 1 - p).
double upper_tail(std::int64_t n, std::int64_t k, double p) { return lower_tail(n, n - k, 1.0 - p); }

std::optional<RankInterval> independent_ranks(std::int64_t n, double quantile, double tail) {
  const double centre = static_cast<double>(n) * quantile;
  // The normal approximation at 2 sigma is near for every n; both searches below walk from there to the exact rank.
  const double spread = 2.0 * std::sqrt(centre * (1.0 - quantile));
  auto lower = std::clamp<std::int64_t>(static_cast<std::int64_t>(centre - spread), 0, n);
  while (lower > 0 && lower_tail(n, lower - 1, quantile) > tail) --lower;
  while (lower < n && lower_tail(n, lower, quantile) <= tail) ++lower;
  auto upper = std::clamp<std::int64_t>(static_cast<std::int64_t>(centre + spread), 1, n + 1);
  while (upper <= n && upper_tail(n, upper, quantile) > tail) ++upper;
  while (upper > 1 && upper_tail(n, upper - 1, quantile) <= tail) --upper;
  if (lower < 1 || upper > n) return std::nullopt;
  return RankInterval{lower, upper};
}

}  // namespace

std::int64_t quantile_rank(std::int64_t n, double quantile) {
  // The tolerance keeps 0.9 * 10, which is 9.000000000000002 for some n, from being the tenth.
  const auto rank = static_cast<std::int64_t>(std::ceil(static_cast<double>(n) * quantile - 1e-9));
  return std::clamp<std::int64_t>(rank, 1, n);
}

std::optional<RankInterval> quantile_ranks(std::int64_t n, double quantile, double confidence, double dependence) {
  if (!(quantile > 0.0 && quantile < 1.0)) throw UsageError("a quantile lies between 0 and 1, both excluded");
  if (!(confidence > 0.0 && confidence < 1.0)) throw UsageError("a confidence lies between 0 and 1, both excluded");
  if (!(dependence >= 1.0)) throw UsageError("dependent samples say less than independent ones: at least 1");
  if (n < 1) return std::nullopt;
  const auto effective = std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(n) / dependence));
  const auto ranks = independent_ranks(effective, quantile, (1.0 - confidence) / 2.0);
  if (!ranks || effective == n) return ranks;
  const double stretch = static_cast<double>(n) / static_cast<double>(effective);
  // A rank stands for the middle of its stretch; a quarter of a stretch outwards makes up for the dependence being an
  // estimate too. Whole stretches outwards would cover more than a point too often.
  const auto lower = std::llround((static_cast<double>(ranks->lower) - 0.75) * stretch + 0.75);
  const auto upper = std::llround((static_cast<double>(ranks->upper) - 0.25) * stretch + 0.25);
  return RankInterval{std::max<std::int64_t>(1, lower), std::min<std::int64_t>(n, upper)};
}

template <class Value>
std::optional<QuantileEstimate> estimate_quantile(std::vector<Value>& scratch, double quantile, double confidence,
                                                  double dependence) {
  const auto n = static_cast<std::int64_t>(scratch.size());
  const auto ranks = quantile_ranks(n, quantile, confidence, dependence);
  if (!ranks) return std::nullopt;
  const auto [lower, upper] = *ranks;
  // From the middle outwards: each selection leaves the smaller part for the next one to look at.
  const auto begin = scratch.begin();
  const auto middle = begin + (quantile_rank(n, quantile) - 1);
  std::nth_element(begin, middle, scratch.end());
  const auto value = static_cast<double>(*middle);
  std::nth_element(begin, begin + (lower - 1), middle + 1);
  const auto low = static_cast<double>(*(begin + (lower - 1)));
  std::nth_element(middle, begin + (upper - 1), scratch.end());
  return QuantileEstimate{value, low, static_cast<double>(*(begin + (upper - 1)))};
}

template std::optional<QuantileEstimate> estimate_quantile(std::vector<std::int64_t>&, double, double, double);
template std::optional<QuantileEstimate> estimate_quantile(std::vector<double>&, double, double, double);

double dependence_at(std::span<const std::int64_t> samples, std::int64_t value) {
  constexpr std::size_t kFewest = 10;  // below that nothing tells dependence from chance
  const std::size_t samples_count = samples.size();
  if (samples_count < kFewest) return 1.0;
  const auto counts = counts_below(samples, value);
  const auto n = static_cast<double>(samples_count);
  const double share = static_cast<double>(counts.back()) / n;
  if (share == 1.0) {
    // The value is the largest there is: what can be seen is which samples lie below it.
    const auto [least, largest] = std::minmax_element(samples.begin(), samples.end());
    return *least == *largest ? 1.0 : dependence_at(samples, *largest - 1);
  }
  if (share == 0.0) return 1.0;
  double ratio = 1.0;
  std::size_t block = 1;
  for (std::size_t longer = 2; longer * kFewestBlocks <= samples_count; longer *= 2) {
    block = longer;
    ratio = overlapping_blocks(counts, block, share);
    const auto length = static_cast<double>(block);
    const double dependent = std::max(1.0, ratio);
    if (length * length * length >= 2.0 * n * dependent * dependent) break;
  }
  const double freedom = std::max(2.0, 1.5 * n / static_cast<double>(block) - 1.0);
  const double by_lag1 = dependence_by_lag1(counts, share);
  if (ratio < chi_square_99_over_freedom(freedom) && by_lag1 == 1.0) return 1.0;
  const double stretch = t_over_normal(freedom);
  return std::max({1.0, ratio * stretch * stretch, by_lag1});
}

}  // namespace pyperf
