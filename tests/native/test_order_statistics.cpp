// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <random>

#include "check.hpp"
#include "core/error.hpp"
#include "core/order_statistics.hpp"
#include "fakes.hpp"

namespace pyperf::test {
namespace {

// P(X <= k) for k = 0..n, X binomial(n, p), by adding up all terms.
std::vector<long double> binomial_cdf(std::int64_t n, long double p) {
  std::vector<long double> cdf;
  long double sum = 0;
  for (std::int64_t k = 0; k <= n; ++k) {
    const auto choose = std::lgamma(n + 1.0L) - std::lgamma(k + 1.0L) - std::lgamma(n - k + 1.0L);
    sum += std::exp(choose + k * std::log(p) + (n - k) * std::log1p(-p));
    cdf.push_back(sum);
  }
  return cdf;
}

// The definition, tried rank by rank.
std::optional<RankInterval> ranks_by_definition(std::int64_t n, double quantile, double confidence) {
  const auto cdf = binomial_cdf(n, quantile);
  const long double tail = (1.0L - confidence) / 2.0L;
  RankInterval ranks{0, n + 1};
  for (std::int64_t l = 1; l <= n; ++l) {
    if (cdf[static_cast<std::size_t>(l - 1)] <= tail) ranks.lower = l;
  }
  for (std::int64_t u = n; u >= 1; --u) {
    if (1.0L - cdf[static_cast<std::size_t>(u - 1)] <= tail) ranks.upper = u;
  }
  if (ranks.lower < 1 || ranks.upper > n) return std::nullopt;
  return ranks;
}

std::int64_t fewest(double quantile) {
  std::int64_t n = 1;
  while (!quantile_ranks(n, quantile, 0.95)) ++n;
  return n;
}

std::vector<std::int64_t> drawn(const Duration& duration, std::int64_t count) {
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < count; ++i) samples.push_back(duration(i));
  return samples;
}

// How often the interval of the median holds the true one, over 1,000 simulated measurements.
double coverage_of_median(double rho, std::int64_t count, bool widen) {
  constexpr std::int64_t kMedian = 1'000'000;
  int held = 0;
  for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
    const auto samples = drawn(autocorrelated(kMedian, 50'000, rho, seed), count);
    auto scratch = samples;
    std::nth_element(scratch.begin(), scratch.begin() + (count - 1) / 2, scratch.end());
    const double dependence = widen ? dependence_at(samples, scratch[static_cast<std::size_t>((count - 1) / 2)]) : 1.0;
    const auto estimate = estimate_quantile(scratch, 0.5, 0.95, dependence);
    held += estimate && estimate->lower <= kMedian && kMedian <= estimate->upper ? 1 : 0;
  }
  return held / 1'000.0;
}

}  // namespace

TEST(order_statistics, ranks_are_those_of_the_definition) {
  for (const double confidence : {0.8, 0.95, 0.999}) {
    for (const double quantile : {0.01, 0.25, 0.5, 0.9, 0.95, 0.99}) {
      for (std::int64_t n = 1; n <= 800; n += n < 120 ? 1 : 37) {
        const auto got = quantile_ranks(n, quantile, confidence);
        const auto wanted = ranks_by_definition(n, quantile, confidence);
        CHECK_EQUAL(got.has_value(), wanted.has_value());
        if (!got || !wanted) continue;
        CHECK_EQUAL(got->lower, wanted->lower);
        CHECK_EQUAL(got->upper, wanted->upper);
      }
    }
  }
}

TEST(order_statistics, a_quantile_needs_as_many_samples_as_the_tables_say) {
  CHECK_EQUAL(fewest(0.5), 6);
  CHECK_EQUAL(fewest(0.9), 36);
  CHECK_EQUAL(fewest(0.95), 72);
  CHECK_EQUAL(fewest(0.99), 368);
}

TEST(order_statistics, ranks_of_very_many_samples_are_near_the_normal_approximation) {
  for (const double quantile : {0.5, 0.99}) {
    const double n = 10'000'000;
    const auto ranks = quantile_ranks(10'000'000, quantile, 0.95);
    const double reach = 1.959964 * std::sqrt(n * quantile * (1.0 - quantile));
    CHECK(std::abs(static_cast<double>(ranks->lower) - (n * quantile - reach)) < 3.0);
    CHECK(std::abs(static_cast<double>(ranks->upper) - (n * quantile + reach)) < 3.0);
  }
}

TEST(order_statistics, the_sample_quantile_is_the_inverse_of_the_empirical_distribution) {
  CHECK_EQUAL(quantile_rank(1, 0.5), 1);
  CHECK_EQUAL(quantile_rank(4, 0.5), 2);
  CHECK_EQUAL(quantile_rank(5, 0.5), 3);
  CHECK_EQUAL(quantile_rank(10, 0.9), 9);
  CHECK_EQUAL(quantile_rank(1'000, 0.999), 999);
  CHECK_EQUAL(quantile_rank(3, 0.01), 1);
}

TEST(order_statistics, an_estimate_holds_the_values_at_its_ranks) {
  std::vector<std::int64_t> shuffled(100);
  for (std::size_t i = 0; i < shuffled.size(); ++i) shuffled[i] = static_cast<std::int64_t>(i) + 1;  // value = rank
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(1));
  for (const double quantile : {0.1, 0.5, 0.9}) {
    auto scratch = shuffled;
    const auto estimate = estimate_quantile(scratch, quantile, 0.95);
    const auto ranks = quantile_ranks(100, quantile, 0.95);
    CHECK_EQUAL(estimate->value, static_cast<double>(quantile_rank(100, quantile)));
    CHECK_EQUAL(estimate->lower, static_cast<double>(ranks->lower));
    CHECK_EQUAL(estimate->upper, static_cast<double>(ranks->upper));
  }
}

TEST(order_statistics, dependence_spreads_the_ranks_of_fewer_samples_over_all) {
  const auto few = quantile_ranks(100, 0.5, 0.95);
  const auto spread = quantile_ranks(400, 0.5, 0.95, 4.0);
  // The second of the four samples that each rank stands for, counted from outside.
  CHECK_EQUAL(spread->lower, (few->lower - 1) * 4 + 2);
  CHECK_EQUAL(spread->upper, few->upper * 4 - 1);
  CHECK(!quantile_ranks(400, 0.99, 0.95, 4.0));
  CHECK_THROWS(UsageError, quantile_ranks(400, 0.5, 0.95, 0.5));
  CHECK_THROWS(UsageError, quantile_ranks(400, 0.5, 0.95, std::nan("")));
}

TEST(order_statistics, intervals_stay_in_bounds_and_in_order_whatever_the_dependence) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 2'000; ++i) {
    const auto n = std::uniform_int_distribution<std::int64_t>(1, 500)(random);
    const double quantile = std::uniform_real_distribution<>(0.001, 0.999)(random);
    const double dependence = std::uniform_real_distribution<>(1.0, 40.0)(random);
    const double confidence = std::uniform_real_distribution<>(0.01, 0.99)(random);
    const auto ranks = quantile_ranks(n, quantile, confidence, dependence);
    if (!ranks) continue;
    CHECK(1 <= ranks->lower && ranks->lower <= quantile_rank(n, quantile));
    CHECK(quantile_rank(n, quantile) <= ranks->upper && ranks->upper <= n);
  }
}

TEST(order_statistics, nonsense_is_refused) {
  CHECK_THROWS(UsageError, quantile_ranks(10, 0.0, 0.95));
  CHECK_THROWS(UsageError, quantile_ranks(10, 1.0, 0.95));
  CHECK_THROWS(UsageError, quantile_ranks(10, std::nan(""), 0.95));
  CHECK_THROWS(UsageError, quantile_ranks(10, 0.5, 1.0));
  CHECK(!quantile_ranks(0, 0.5, 0.95));
}

TEST(order_statistics, independent_samples_are_hardly_widened) {
  int widened = 0;
  double greatest = 1.0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const auto samples = drawn(noisy(1'000'000, 50'000, seed), 1'000);
    const double dependence = dependence_at(samples, 1'000'000);
    widened += dependence > 1.0 ? 1 : 0;
    greatest = std::max(greatest, dependence);
  }
  CHECK(widened <= 50);   // a tenth of 300 by neighbours, 1% by blocks, and three standard deviations
  CHECK(greatest < 2.5);  // and then by little
}

TEST(order_statistics, dependence_grows_with_autocorrelation) {
  // An AR(1) process of rho 0.9 has a variance of its mean (1 + rho) / (1 - rho) = 19 times that of independent
  // samples; of the indicator at the median it is about 2/pi sum asin(rho^k), which makes 12.4 of it.
  const double weak = dependence_at(drawn(autocorrelated(1e6, 5e4, 0.5, 1), 100'000), 1'000'000);
  const double strong = dependence_at(drawn(autocorrelated(1e6, 5e4, 0.9, 1), 100'000), 1'000'000);
  CHECK(weak > 1.5 && weak < 4.0);
  CHECK(strong > 8.0 && strong < 18.0);
}

TEST(order_statistics, samples_that_lean_away_from_each_other_are_not_widened) {
  const auto samples = drawn([](std::int64_t i) { return i % 2 == 0 ? 900 : 1'100; }, 1'000);
  CHECK_EQUAL(dependence_at(samples, 900), 1.0);
}

TEST(order_statistics, dependence_of_few_or_equal_samples_is_1) {
  CHECK_EQUAL(dependence_at({}, 0), 1.0);
  CHECK_EQUAL(dependence_at(drawn(noisy(1e6, 5e4, 1), 10), 1'000'000), 1.0);
  CHECK_EQUAL(dependence_at(drawn(always(5), 1'000), 5), 1.0);
}

TEST(order_statistics, the_interval_of_independent_samples_covers_the_median_as_promised) {
  const double coverage = coverage_of_median(0.0, 101, true);
  CHECK(coverage >= 0.93);  // 0.95 less three standard deviations of 1,000 simulations
  CHECK(coverage <= 0.99);
}

TEST(order_statistics, widening_mends_the_coverage_of_dependent_samples) {
  CHECK(coverage_of_median(0.9, 1'000, false) < 0.6);
  CHECK(coverage_of_median(0.9, 1'000, true) > 0.85);
}

TEST(order_statistics, dependence_shows_at_the_largest_value_too) {
  // The upper half comes in one stretch, as after a clock change, and ties with the largest.
  const auto drift = drawn([](std::int64_t i) { return i < 500 ? 1'000 : 1'200; }, 1'000);
  CHECK_EQUAL(dependence_at(drift, 1'200), dependence_at(drift, 1'000));
  CHECK(dependence_at(drift, 1'200) > 10.0);
}

}  // namespace pyperf::test
