// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "check.hpp"
#include "core/error.hpp"
#include "core/stopping.hpp"
#include "fakes.hpp"

namespace pyperf::test {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::vector<std::int64_t> samples_of(const Duration& duration, std::int64_t count) {
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < count; ++i) samples.push_back(duration(i));
  return samples;
}

StopPlan quick_plan() {
  StopPlan plan;
  plan.min_duration_ns = 0;
  return plan;
}

// Two kinds of call, equally many: the median's interval spans from the one to the other however many there are.
Duration two_kinds(std::uint64_t seed) {
  auto random = std::make_shared<std::mt19937_64>(seed);
  return [random](std::int64_t) { return (*random)() % 2 == 0 ? 1'000 : 2'000; };
}

// The count at which the rule stops when it is shown all samples up to each multiple of `batch`; -1: never.
std::int64_t count_at_stop(const StopPlan& plan, const std::vector<std::int64_t>& samples, std::int64_t batch,
                           std::int64_t elapsed_ns = 0) {
  StopRule rule(plan);
  for (std::int64_t n = batch; n <= static_cast<std::int64_t>(samples.size()); n += batch) {
    const auto reason = rule.observe({samples.data(), static_cast<std::size_t>(n)}, elapsed_ns);
    if (reason) {
      CHECK(*reason == StopReason::kConverged);
      return n;
    }
  }
  return -1;
}

}  // namespace

TEST(stopping, the_least_number_of_samples_holds) {
  const auto samples = samples_of(always(1'000'000), 30);
  StopRule rule(quick_plan());
  for (std::size_t n = 1; n < 30; ++n) CHECK(!rule.observe({samples.data(), n}, 2 * kSecond));
  CHECK(!rule.observe(samples, 2 * kSecond));
  CHECK_EQUAL(rule.looks(), 0);  // fifty are needed to tell how much they depend on each other
  CHECK(rule.observe(samples, 20 * kSecond) == StopReason::kConverged);
  StopRule few(quick_plan());
  CHECK(few.observe(std::span(samples).first(29), 20 * kSecond) == StopReason::kMaxDuration);
}

TEST(stopping, the_least_duration_holds) {
  const auto samples = samples_of(always(1'000'000), 1'000);
  StopRule rule(StopPlan{});
  CHECK(!rule.observe(samples, kSecond - 1));
  CHECK_EQUAL(rule.looks(), 1);
  CHECK(rule.observe(samples, kSecond) == StopReason::kConverged);
}

TEST(stopping, a_wide_interval_goes_on_until_the_budget_is_spent) {
  const auto samples = samples_of(two_kinds(1), 5'000);
  StopRule rule(StopPlan{});
  for (std::size_t n = 1; n <= samples.size(); ++n) CHECK(!rule.observe({samples.data(), n}, 20 * kSecond - 1));
  CHECK(rule.observe(samples, 20 * kSecond) == StopReason::kMaxDuration);
}

TEST(stopping, the_budget_ends_it_below_the_least_number_of_samples_too) {
  const auto samples = samples_of(always(1'000'000), 3);
  StopRule rule(StopPlan{});
  CHECK(rule.observe(samples, 20 * kSecond) == StopReason::kMaxDuration);
  CHECK_EQUAL(rule.looks(), 0);
}

TEST(stopping, the_most_samples_end_it) {
  auto plan = quick_plan();
  plan.max_samples = 500;
  const auto samples = samples_of(two_kinds(1), 500);
  StopRule rule(plan);
  CHECK(!rule.observe({samples.data(), 499}, 0));
  CHECK(rule.observe(samples, 0) == StopReason::kMaxSamples);
}

TEST(stopping, a_last_look_is_taken_when_the_budget_is_spent) {
  auto samples = samples_of(two_kinds(1), 30);
  StopRule rule(quick_plan());
  CHECK(!rule.observe(samples, 0));
  samples.assign(31, 1'000'000);  // one more is too early for a look
  CHECK(!rule.observe(samples, 0));
  CHECK(rule.observe(samples, 20 * kSecond) == StopReason::kConverged);
}

TEST(stopping, looks_come_at_counts_that_grow_geometrically) {
  const auto samples = samples_of(two_kinds(1), 10'000);
  StopRule rule(quick_plan());
  std::vector<std::size_t> looked_at;
  for (std::size_t n = 1; n <= samples.size(); ++n) {
    const auto before = rule.looks();
    CHECK(!rule.observe({samples.data(), n}, 0));
    if (rule.looks() != before) looked_at.push_back(n);
  }
  CHECK_EQUAL(looked_at.front(), 34u);  // so that the next is at 51
  for (std::size_t i = 1; i < looked_at.size(); ++i) {
    const double growth = static_cast<double>(looked_at[i]) / static_cast<double>(looked_at[i - 1]);
    CHECK(growth > 1.47 && growth < 1.53);
  }
  CHECK_EQUAL(looked_at.size(), static_cast<std::size_t>(rule.looks()));
  CHECK(looked_at.size() > 12 && looked_at.size() < 17);  // log(10'000 / 34) / log(1.5) = 14
}

TEST(stopping, a_tighter_interval_takes_more_samples) {
  const auto samples = samples_of(noisy(1e6, 1e5, 5), 100'000);
  auto plan = quick_plan();
  const auto at_1_percent = count_at_stop(plan, samples, 10);
  plan.relative_half_width = 0.002;
  const auto at_a_fifth_of_it = count_at_stop(plan, samples, 10);
  CHECK(at_1_percent > 0);
  CHECK(at_a_fifth_of_it > 10 * at_1_percent);  // 25 times as many, give or take a look
}

TEST(stopping, dependent_samples_go_on_for_longer) {
  const auto independent = count_at_stop(quick_plan(), samples_of(noisy(1e6, 1e5, 5), 100'000), 10);
  const auto dependent = count_at_stop(quick_plan(), samples_of(autocorrelated(1e6, 1e5, 0.95, 5), 100'000), 10);
  CHECK(independent > 0);
  CHECK(dependent < 0 || dependent > 5 * independent);
}

TEST(stopping, no_interval_is_narrower_than_a_step_of_the_clock) {
  auto plan = quick_plan();
  plan.clock_step_ns = 100;
  const auto coarse = samples_of(always(1'000), 1'000);  // every sample alike: half a step is 5% of it
  CHECK_EQUAL(count_at_stop(plan, coarse, 100), -1);
  StopRule rule(plan);
  CHECK(!rule.observe(coarse, 0));
  CHECK_EQUAL(*rule.half_width(), 0.05);
}

TEST(stopping, a_median_of_nothing_is_never_known_well) {
  const auto nothing = samples_of(always(0), 1'000);
  CHECK_EQUAL(count_at_stop(quick_plan(), nothing, 100), -1);
  StopRule rule(quick_plan());
  CHECK(!rule.observe(nothing, 0));
  CHECK(std::isinf(*rule.half_width()));
}

TEST(stopping, too_few_samples_have_no_interval) {
  auto plan = quick_plan();
  plan.min_samples = 1;
  StopRule rule(plan);
  CHECK(!rule.observe({}, 0));
  CHECK(rule.observe(samples_of(always(5), 5), 20 * kSecond) == StopReason::kMaxDuration);
  CHECK(!rule.half_width());
  // At 99.9% they have none still.
  CHECK(rule.observe(samples_of(always(5), 7), 20 * kSecond) == StopReason::kMaxDuration);
  CHECK(rule.half_width().has_value());
}

TEST(stopping, it_takes_two_looks_in_a_row_unless_the_budget_asks_for_the_look) {
  const auto alike = samples_of(always(1'000'000), 300);
  StopRule rule(quick_plan());
  CHECK(!rule.observe(std::span(alike).first(34), 6 * kSecond));
  CHECK(!rule.observe(std::span(alike).first(40), 6 * kSecond));  // no look at that count
  CHECK(rule.observe(std::span(alike).first(51), 6 * kSecond) == StopReason::kConverged);
  StopRule spent(quick_plan());
  CHECK(spent.observe(std::span(alike).first(30), 20 * kSecond) == StopReason::kConverged);
}

TEST(stopping, few_samples_of_a_moment_are_not_enough) {
  const auto alike = samples_of(always(1'000'000), 1'000);
  CHECK_EQUAL(count_at_stop(quick_plan(), alike, 1), 256);  // the first look at 200 or more, at once
}

TEST(stopping, few_samples_are_not_enough_once_spells_were_seen) {
  StopPlan plan = quick_plan();
  plan.relative_half_width = 0.5;
  auto samples = samples_of(two_kinds(1), 1'000);
  for (auto& one : samples) one += 100'000;
  CHECK(count_at_stop(plan, samples, 1, 6 * kSecond) < 200);
  for (std::size_t i = 0; i < 60; ++i) samples[i] = (i / 4) % 2 == 0 ? 101'000 : 102'000;
  CHECK(count_at_stop(plan, samples, 1, 6 * kSecond) >= 200);
}

TEST(stopping, a_median_in_the_gap_between_two_modes_does_not_stop_it_where_it_misses_the_gap) {
  std::int64_t stopped = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    stopped += count_at_stop(quick_plan(), samples_of(two_kinds(seed), 3'000), 1) > 0 ? 1 : 0;
  }
  CHECK(stopped <= 4);
}

TEST(stopping, looks_wait_until_they_are_a_hundredth_of_the_time) {
  const auto samples = samples_of(two_kinds(1), 100'000);
  const FreshClock clock(4'900);  // what a look takes: too much of a hundred samples' time, little of thousands'
  StopRule rule(quick_plan(), &FakeClock::now_ns);
  StopRule unpaced(quick_plan());
  std::int64_t elapsed_ns = 0;
  for (std::size_t n = 100; n <= samples.size(); n += 100) {
    elapsed_ns += 100 * 10'000;
    CHECK(!rule.observe({samples.data(), n}, elapsed_ns));
    CHECK(!unpaced.observe({samples.data(), n}, elapsed_ns));
  }
  CHECK(rule.looks() > 1);
  CHECK(rule.looks_ns() * 100 <= elapsed_ns);
  CHECK_EQUAL(rule.looks_ns(), rule.looks() * 4'900);
  CHECK(unpaced.looks() > rule.looks());
  CHECK_EQUAL(unpaced.looks_ns(), 0);

  StopRule rushed(quick_plan(), &FakeClock::now_ns);  // a million samples in no time at all: nothing pays for a look
  CHECK(!rushed.observe(samples, 1));
  CHECK_EQUAL(rushed.looks(), 0);
}

TEST(stopping, the_interval_of_another_quantile_can_decide) {
  const auto samples = samples_of(noisy(1e6, 1e5, 5), 100'000);
  auto plan = quick_plan();
  const auto of_median = count_at_stop(plan, samples, 10);
  plan.quantile = 0.99;
  const auto of_tail = count_at_stop(plan, samples, 10);
  CHECK(of_median > 0);
  CHECK(of_tail > 2 * of_median);  // fewer samples lie there
  plan.quantile = 1.0;
  CHECK_THROWS(UsageError, StopRule(plan));
}

TEST(stopping, the_width_at_the_last_look_is_told) {
  StopRule rule(quick_plan());
  CHECK(!rule.half_width());
  const auto samples = samples_of(two_kinds(1), 1'000);
  CHECK(!rule.observe(samples, 0));
  CHECK(rule.half_width().has_value());
  CHECK(*rule.half_width() > 0.2);  // from 1'000 to 2'000
}

TEST(stopping, of_millions_of_samples_runs_from_all_of_them_are_looked_at) {
  // The second half is another level: a look at the first or the last part alone would call the median known well.
  std::vector<std::int64_t> samples(2'000'000, 1'000'000);
  StopRule even(quick_plan());
  CHECK(!even.observe(samples, 0));
  CHECK(even.half_width() && *even.half_width() < 1e-5);
  std::fill(samples.begin() + 1'000'000, samples.end(), 2'000'000);
  StopRule halves(quick_plan());
  CHECK(!halves.observe(samples, 0));
  CHECK(!halves.half_width() || *halves.half_width() > 0.01);
}

TEST(stopping, a_replay_does_what_the_rule_did) {
  const auto samples = samples_of(noisy(1e6, 1e5, 7), 20'000);
  auto plan = quick_plan();
  const auto outcome = replay(samples, plan);
  CHECK(outcome.reason == StopReason::kConverged);
  CHECK_EQUAL(outcome.count, count_at_stop(plan, samples, 1));
  CHECK(outcome.looks > 0);

  plan.max_duration_ns = 50'000'000;  // of the samples themselves
  plan.relative_half_width = 1e-6;
  const auto spent = replay(samples, plan);
  CHECK(spent.reason == StopReason::kMaxDuration);
  CHECK(spent.count > 40 && spent.count < 60);

  const auto short_of = replay(std::span(samples).first(10), plan);
  CHECK(short_of.reason == StopReason::kInterrupted);
  CHECK_EQUAL(short_of.count, 10);
}

TEST(stopping, plans_that_contradict_themselves_are_refused) {
  const auto refused = [](auto change) {
    StopPlan plan;
    change(plan);
    CHECK_THROWS(UsageError, StopRule(plan));
  };
  refused([](StopPlan& plan) { plan.min_samples = 0; });
  refused([](StopPlan& plan) { plan.max_samples = plan.min_samples - 1; });
  refused([](StopPlan& plan) { plan.min_duration_ns = -1; });
  refused([](StopPlan& plan) { plan.max_duration_ns = plan.min_duration_ns - 1; });
  refused([](StopPlan& plan) { plan.relative_half_width = 0.0; });
  refused([](StopPlan& plan) { plan.relative_half_width = std::nan(""); });
  refused([](StopPlan& plan) { plan.confidence = 1.0; });
  refused([](StopPlan& plan) { plan.clock_step_ns = -1; });
}

TEST(stopping, every_reason_has_a_name) {
  CHECK_EQUAL(std::string(name_of(StopReason::kConverged)), "converged");
  CHECK_EQUAL(std::string(name_of(StopReason::kMaxDuration)), "max_duration");
  CHECK_EQUAL(std::string(name_of(StopReason::kMaxSamples)), "max_samples");
  CHECK_EQUAL(std::string(name_of(StopReason::kInterrupted)), "interrupted");
}

}  // namespace pyperf::test
