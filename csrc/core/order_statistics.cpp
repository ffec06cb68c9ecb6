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

// 99% point of chi-square over its degrees of freedom. Source: E. B. Wilson and M. M. Hilferty, "The distribution of
// chi-square", PNAS 17 (1931).
double chi_square_99_over_freedom(double freedom) {
  constexpr double kNormal99 = 2.3263478740408408;
  const double width = 2.0 / (9.0 * freedom);
  return std::pow(1.0 - width + kNormal99 * std::sqrt(width), 3.0);
}

// What neighbours alone tell, for samples too few to fill many blocks: an AR(1) process of lag-1 correlation r makes
// (1 + r) / (1 - r) samples count as one. The estimate of r is 1/n too low on average, and counts only where it is
// above 90% of what independent samples give. Source of both: C. Chatfield, The Analysis of Time Series, 6th ed., 4.1.
double dependence_by_lag1(std::span<const std::int64_t> samples, std::int64_t value, double share) {
  constexpr double kNormal90 = 1.28;
  const auto n = static_cast<double>(samples.size());
  double products = 0.0;
  for (std::size_t i = 1; i < samples.size(); ++i) {
    const double before = (samples[i - 1] <= value ? 1.0 : 0.0) - share;
    products += before * ((samples[i] <= value ? 1.0 : 0.0) - share);
  }
  const double r = std::min(0.99, products / (n * share * (1.0 - share)) + 1.0 / n);
  return r > kNormal90 / std::sqrt(n) ? (1.0 + r) / (1.0 - r) : 1.0;
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
  const auto lower = static_cast<std::int64_t>(std::floor(static_cast<double>(ranks->lower - 1) * stretch)) + 1;
  const auto upper = static_cast<std::int64_t>(std::ceil(static_cast<double>(ranks->upper) * stretch));
  return RankInterval{std::max<std::int64_t>(1, lower), std::min(n, upper)};
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
  const auto n = samples.size();
  const auto block = static_cast<std::size_t>(std::sqrt(static_cast<double>(n)));
  const std::size_t blocks = block == 0 ? 0 : n / block;
  constexpr std::size_t kFewestBlocks = 5;  // below that the variance of block means is noise
  if (blocks < kFewestBlocks) return 1.0;
  double below_all = 0.0;
  std::vector<double> means(blocks);
  for (std::size_t b = 0; b < blocks; ++b) {
    std::size_t below = 0;
    for (std::size_t i = b * block; i < (b + 1) * block; ++i) below += samples[i] <= value ? 1 : 0;
    means[b] = static_cast<double>(below) / static_cast<double>(block);
    below_all += means[b];
  }
  const double share = below_all / static_cast<double>(blocks);
  const double own_variance = share * (1.0 - share);
  if (share == 1.0) {
    // The value is the largest there is: what can be seen is which samples lie below it.
    const auto judged = samples.first(blocks * block);
    const auto [least, largest] = std::minmax_element(judged.begin(), judged.end());
    return *least == *largest ? 1.0 : dependence_at(samples, *largest - 1);
  }
  if (own_variance <= 0.0) return 1.0;
  double squares = 0.0;
  for (const double mean : means) squares += (mean - share) * (mean - share);
  const auto freedom = static_cast<double>(blocks - 1);
  const double ratio = static_cast<double>(block) * (squares / freedom) / own_variance;
  const double by_blocks = ratio > chi_square_99_over_freedom(freedom) ? ratio : 1.0;
  return std::max(by_blocks, dependence_by_lag1(samples, value, share));
}

}  // namespace pyperf
