// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "check.hpp"
#include "core/error.hpp"
#include "core/warmup.hpp"
#include "fakes.hpp"

namespace pyperf::test {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

struct Warmed {
  WarmupOutcome outcome;
  std::int64_t calls;  // as the target saw them
  std::vector<Progress> progress;
};

Warmed warmed(const Duration& duration, const WarmupPlan& plan, std::int64_t stop_at = -1) {
  FakeTarget target(duration);
  FakeLoop loop(target);
  FakeCheckpoint checkpoint(stop_at);
  checkpoint.on_pass = [&] { CHECK(!target.inside_batch); };
  const auto outcome = warm_up(loop, plan, checkpoint);
  CHECK_EQUAL(outcome.calls, target.calls);
  return {outcome, target.calls, checkpoint.seen};
}

}  // namespace

TEST(warmup, ends_when_four_windows_of_20_ms_agree) {
  const FreshClock clock;
  const auto [outcome, calls, progress] = warmed(always(kMillisecond), {});
  CHECK(outcome.steady);
  CHECK(outcome.duration_ns >= 80 * kMillisecond);
  CHECK(outcome.duration_ns <= 130 * kMillisecond);  // a window that is not yet full grows by at most another
  CHECK_EQUAL(outcome.duration_ns, FakeClock::time_ns);
}

TEST(warmup, waits_out_a_slow_start) {
  const FreshClock clock;
  const auto settling = [](std::int64_t call) {
    return kMillisecond + static_cast<std::int64_t>(20e6 * std::exp(-static_cast<double>(call) / 60.0));
  };
  const auto [outcome, calls, progress] = warmed(settling, {});
  CHECK(outcome.steady);
  CHECK(calls > 300);  // 20e6 exp(-300 / 60) is still 13% of a millisecond
  CHECK_EQUAL(outcome.first_call_ns, 21 * kMillisecond);
}

TEST(warmup, noise_does_not_keep_it_from_ending) {
  int steady = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const FreshClock clock;
    steady += warmed(noisy(1e6, 1e5, seed), {1, 1'000 * kMillisecond}).outcome.steady ? 1 : 0;
  }
  CHECK_EQUAL(steady, 50);
}

TEST(warmup, times_that_grow_for_ever_are_never_steady_and_the_budget_ends_it) {
  const FreshClock clock;
  const auto growing = [](std::int64_t call) {
    return static_cast<std::int64_t>(1e6 * std::pow(1.01, static_cast<double>(call)));
  };
  const auto [outcome, calls, progress] = warmed(growing, {1, 2'000 * kMillisecond});
  CHECK(!outcome.steady);
  CHECK(outcome.duration_ns >= 2'000 * kMillisecond);
  CHECK(outcome.duration_ns < 2'100 * kMillisecond);
}

TEST(warmup, a_window_has_at_least_three_calls) {
  const FreshClock clock;
  const auto [outcome, calls, progress] = warmed(always(1'000 * kMillisecond), {1, 60'000 * kMillisecond});
  CHECK(outcome.steady);
  CHECK_EQUAL(calls, 12);
}

TEST(warmup, the_budget_stops_long_calls_before_they_are_judged) {
  const FreshClock clock;
  const auto [outcome, calls, progress] = warmed(always(1'000 * kMillisecond), {1, 5'000 * kMillisecond});
  CHECK(!outcome.steady);
  CHECK_EQUAL(calls, 5);
}

TEST(warmup, the_least_number_of_calls_holds_beyond_steadiness_and_budget) {
  const FreshClock clock;
  const auto [outcome, calls, progress] = warmed(always(kMillisecond), {1'000, 5'000 * kMillisecond});
  CHECK(calls >= 1'000 && calls < 1'030);
  CHECK(outcome.steady);
  CHECK_EQUAL(warmed(always(kMillisecond), {7, 3 * kMillisecond}).calls, 7);
}

TEST(warmup, without_a_budget_there_are_just_the_least_calls) {
  const FreshClock clock;
  const auto [outcome, calls, progress] = warmed(always(kMillisecond), {3, 0});
  CHECK_EQUAL(calls, 3);
  CHECK(!outcome.steady);
  const auto none = warmed(always(kMillisecond), {0, 0});
  CHECK_EQUAL(none.calls, 0);
  CHECK_EQUAL(none.outcome.first_call_ns, 0);
}

TEST(warmup, a_call_too_short_for_the_clock_ends_too) {
  const FreshClock clock;
  const auto [outcome, calls, progress] = warmed(always(0), {1, 5'000 * kMillisecond});
  CHECK(outcome.steady);
  CHECK(calls >= 400'000 && calls < 900'000);  // four windows of 100,000, and what a full batch adds to each
}

TEST(warmup, the_checkpoint_is_told_and_can_stop_it) {
  const FreshClock clock;
  const auto [outcome, calls, progress] = warmed(always(kMillisecond), {}, 3);
  CHECK(outcome.interrupted);
  CHECK(!outcome.steady);
  CHECK_EQUAL(progress.size(), 3u);
  CHECK(progress.back().phase == Phase::kWarmup);
  CHECK_EQUAL(progress.back().calls, calls);
  CHECK_EQUAL(progress.back().elapsed_ns, FakeClock::time_ns);
  CHECK_EQUAL(progress.back().budget_ns, WarmupPlan{}.budget_ns);
  CHECK_EQUAL(progress.back().last_ns, kMillisecond);
}

TEST(warmup, a_failing_call_is_passed_on) {
  const FreshClock clock;
  FakeTarget target(always(kMillisecond));
  target.throw_at = 5;
  FakeLoop loop(target);
  FakeCheckpoint checkpoint;
  CHECK_THROWS(MeasurementError, warm_up(loop, {}, checkpoint));
  CHECK_EQUAL(target.calls, 5);
}

TEST(warmup, negative_plans_are_refused) {
  FakeTarget target(always(1));
  FakeLoop loop(target);
  FakeCheckpoint checkpoint;
  CHECK_THROWS(UsageError, warm_up(loop, {-1, 0}, checkpoint));
  CHECK_THROWS(UsageError, warm_up(loop, {0, -1}, checkpoint));
}

}  // namespace pyperf::test
