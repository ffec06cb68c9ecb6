// SPDX-License-Identifier: Apache-2.0
#include <numeric>

#include "check.hpp"
#include "core/error.hpp"
#include "core/measure.hpp"
#include "fakes.hpp"

namespace pyperf::test {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

std::int64_t sum(const Samples& samples) {
  const auto view = samples.view();
  return std::accumulate(view.begin(), view.end(), std::int64_t{0});
}

MeasureOutcome measured(FakeTarget& target, const StopPlan& plan, Samples& samples, FakeCheckpoint& checkpoint,
                        Mode mode = Mode::kLatency) {
  FakeLoop loop(target);
  return measure(loop, mode, plan, samples, checkpoint);
}

Duration two_kinds() {
  return [](std::int64_t call) { return call % 2 == 0 ? kMillisecond : 2 * kMillisecond; };
}

}  // namespace

TEST(measure, both_minimums_hold) {
  struct Case {
    std::int64_t call_ns, least_samples, least_ns;
  };
  for (const auto& [call_ns, least_samples, least_ns] :
       {Case{kMillisecond, 1'000, kSecond}, Case{100 * kMillisecond, 50, 5 * kSecond}}) {
    const FreshClock clock;
    FakeTarget target(always(call_ns));
    Samples samples;
    FakeCheckpoint checkpoint;
    const auto outcome = measured(target, {}, samples, checkpoint);
    CHECK(outcome.reason == StopReason::kConverged);
    CHECK(samples.count() >= least_samples);
    CHECK(FakeClock::time_ns >= least_ns);
    CHECK(FakeClock::time_ns <= least_ns + 100 * kMillisecond + call_ns);
    CHECK_EQUAL(samples.count(), target.calls);
  }
}

TEST(measure, what_does_not_converge_ends_with_the_budget) {
  const FreshClock clock;
  FakeTarget target(two_kinds());
  Samples samples;
  FakeCheckpoint checkpoint;
  const auto outcome = measured(target, {}, samples, checkpoint);
  CHECK(outcome.reason == StopReason::kMaxDuration);
  CHECK(FakeClock::time_ns >= 20 * kSecond);
  CHECK(FakeClock::time_ns <= 20 * kSecond + 10 * kMillisecond);  // batches shrink to what is left
}

TEST(measure, one_call_longer_than_the_budget_is_one_sample) {
  const FreshClock clock;
  FakeTarget target(always(30 * kSecond));
  Samples samples;
  FakeCheckpoint checkpoint;
  CHECK(measured(target, {}, samples, checkpoint).reason == StopReason::kMaxDuration);
  CHECK_EQUAL(samples.count(), 1);
}

TEST(measure, the_most_samples_are_kept_to_the_sample) {
  const FreshClock clock;
  FakeTarget target(two_kinds());
  Samples samples;
  FakeCheckpoint checkpoint;
  StopPlan plan;
  plan.max_samples = 777;
  CHECK(measured(target, plan, samples, checkpoint).reason == StopReason::kMaxSamples);
  CHECK_EQUAL(samples.count(), 777);
  CHECK_EQUAL(target.calls, 777);
}

TEST(measure, batches_are_at_most_50_ms_and_at_most_tenfold_the_last) {
  const FreshClock clock;
  FakeTarget target(always(10'000));
  Samples samples;
  FakeCheckpoint checkpoint;
  measured(target, {}, samples, checkpoint);
  CHECK_EQUAL(checkpoint.seen.front().calls, 1);
  std::int64_t calls_before = 0;
  std::int64_t batch_before = 1;
  for (const auto& progress : checkpoint.seen) {
    const std::int64_t batch = progress.calls - calls_before;
    CHECK(batch * 10'000 <= 50 * kMillisecond);
    CHECK(batch <= 10 * batch_before);
    calls_before = progress.calls;
    batch_before = batch;
  }
  CHECK_EQUAL(static_cast<std::int64_t>(checkpoint.seen.size()), target.batches);
}

TEST(measure, the_checkpoint_is_passed_between_batches_only_and_told_how_far_it_is) {
  const FreshClock clock;
  FakeTarget target([](std::int64_t call) { return kMillisecond + call % 7; });
  Samples samples;
  FakeCheckpoint checkpoint;
  checkpoint.on_pass = [&] { CHECK(!target.inside_batch); };
  measured(target, {}, samples, checkpoint);
  const auto& last = checkpoint.seen.back();
  CHECK(last.phase == Phase::kMeasure);
  CHECK_EQUAL(last.calls, samples.count());
  CHECK_EQUAL(last.elapsed_ns, FakeClock::time_ns);
  CHECK_EQUAL(last.budget_ns, 20 * kSecond);
  CHECK_EQUAL(last.last_ns, samples.view().back());
}

TEST(measure, time_spent_in_the_checkpoint_is_no_measured_time) {
  const FreshClock clock;
  FakeTarget target(always(kMillisecond));
  Samples samples;
  FakeCheckpoint checkpoint;
  checkpoint.on_pass = [] { FakeClock::time_ns += 30 * kMillisecond; };
  const auto outcome = measured(target, {}, samples, checkpoint);
  CHECK_EQUAL(outcome.duration_ns, sum(samples));
  CHECK(outcome.duration_ns < FakeClock::time_ns);
}

TEST(measure, the_checkpoint_stops_it_and_samples_stay) {
  const FreshClock clock;
  FakeTarget target(always(kMillisecond));
  Samples samples;
  FakeCheckpoint checkpoint(4);
  CHECK(measured(target, {}, samples, checkpoint).reason == StopReason::kInterrupted);
  CHECK_EQUAL(samples.count(), target.calls);
  CHECK_EQUAL(target.batches, 4);
}

TEST(measure, a_checkpoint_that_throws_loses_no_sample) {
  const FreshClock clock;
  FakeTarget target(always(kMillisecond));
  Samples samples;
  FakeCheckpoint checkpoint;
  checkpoint.on_pass = [&] {
    if (target.batches == 3) throw std::runtime_error("Ctrl-C");
  };
  CHECK_THROWS(std::runtime_error, measured(target, {}, samples, checkpoint));
  CHECK_EQUAL(samples.count(), target.calls);
  CHECK(samples.count() > 10);
}

TEST(measure, a_target_that_throws_midway_leaves_what_was_measured_before) {
  for (const auto mode : {Mode::kLatency, Mode::kThroughput}) {
    const FreshClock clock;
    FakeTarget target([](std::int64_t call) { return kMillisecond + call; });
    target.throw_at = 100;
    Samples samples;
    FakeCheckpoint checkpoint;
    CHECK_THROWS(MeasurementError, measured(target, {}, samples, checkpoint, mode));
    CHECK_EQUAL(samples.count(), 100);
    for (std::int64_t i = 0; i < 100; ++i) CHECK_EQUAL(samples.view(i).front(), kMillisecond + i);
  }
}

TEST(measure, samples_of_an_earlier_measurement_stay_and_are_not_judged) {
  const FreshClock clock;
  Samples samples;
  auto earlier = samples.prepare(1'000);
  for (std::size_t i = 0; i < earlier.size(); ++i) earlier[i] = static_cast<std::int64_t>(i * i);
  samples.commit(1'000);
  FakeTarget target(always(kMillisecond));
  FakeCheckpoint checkpoint;
  StopPlan plan;
  plan.max_samples = 1'200;
  CHECK(measured(target, plan, samples, checkpoint).reason == StopReason::kConverged);
  CHECK_EQUAL(samples.view()[999], 999 * 999);
  CHECK_EQUAL(samples.count(), 1'000 + target.calls);
}

TEST(measure, throughput_counts_settling_and_latency_does_not) {
  for (const auto mode : {Mode::kLatency, Mode::kThroughput}) {
    const FreshClock clock;
    FakeTarget target(always(kMillisecond), always(1'000), always(50));
    Samples samples;
    FakeCheckpoint checkpoint;
    measured(target, {}, samples, checkpoint, mode);
    CHECK_EQUAL(samples.view().front(), mode == Mode::kLatency ? 1'001'000 : 1'001'050);
    CHECK_EQUAL(samples.view().back(), samples.view().front());
  }
}

TEST(measure, a_batch_has_at_least_one_call) {
  FakeTarget target(always(1));
  FakeLoop loop(target);
  Samples samples;
  CHECK_THROWS(UsageError, run_batch(loop, Mode::kLatency, 0, samples));
  CHECK_EQUAL(run_batch(loop, Mode::kLatency, 5, samples), 5);
  CHECK_EQUAL(samples.count(), 5);
}

}  // namespace pyperf::test
