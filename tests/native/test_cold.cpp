// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"
#include "core/error.hpp"
#include "core/flush.hpp"
#include "core/measure.hpp"
#include "fakes.hpp"

namespace pyperf::test {
namespace {

// Takes its time by the fake clock, and can fail.
struct CountingFlush final : Flush {
  void flush() override {
    if (log != nullptr) log->push_back("flush");
    if (flushes == throw_at) throw MeasurementError("the scripted failure");
    FakeClock::time_ns += 1'000'000;
    ++flushes;
  }

  std::vector<std::string>* log = nullptr;
  std::int64_t throw_at = -1;
  std::int64_t flushes = 0;
};

}  // namespace

TEST(cold, the_caches_are_flushed_before_each_call_and_outside_of_its_window) {
  std::vector<std::string> log;
  const FreshClock clock(0, &log);
  FakeTarget target([](std::int64_t call) { return 100 + call; }, always(20));
  CountingFlush flush;
  target.log = flush.log = &log;
  FakeLoop loop(target);
  loop.flush_with(&flush);
  std::vector<std::int64_t> samples(2);
  std::int64_t done = 77;
  loop.cold(samples, done);
  std::string text;
  for (const auto& word : log) text += word + " ";
  CHECK_EQUAL(text, "flush clock submit wait clock settle flush clock submit wait clock settle ");
  CHECK(samples == (std::vector<std::int64_t>{120, 121}));
  CHECK_EQUAL(done, 2);
}

TEST(cold, without_anything_to_flush_with_it_is_refused_and_nothing_runs) {
  const FreshClock clock;
  FakeTarget target(always(100));
  FakeLoop loop(target);
  std::vector<std::int64_t> samples(2);
  std::int64_t done = 77;
  CHECK_THROWS(UsageError, loop.cold(samples, done));
  CHECK_EQUAL(done, 0);
  CHECK_EQUAL(target.calls, 0);
}

TEST(cold, other_modes_do_not_flush) {
  const FreshClock clock;
  FakeTarget target(always(100));
  CountingFlush flush;
  FakeLoop loop(target);
  loop.flush_with(&flush);
  std::vector<std::int64_t> samples(2);
  std::int64_t done = 0;
  loop.latency(samples, done);
  loop.throughput(samples, done);
  loop.batched(2);
  CHECK_EQUAL(flush.flushes, 0);
}

TEST(cold, done_says_what_was_finished_before_the_target_or_the_flush_throws) {
  for (const bool in_flush : {false, true}) {
    const FreshClock clock;
    FakeTarget target(always(100));
    CountingFlush flush;
    (in_flush ? flush.throw_at : target.throw_at) = 3;
    FakeLoop loop(target);
    loop.flush_with(&flush);
    std::vector<std::int64_t> samples(8, -1);
    std::int64_t done = 77;
    CHECK_THROWS(MeasurementError, loop.cold(samples, done));
    CHECK_EQUAL(done, 3);
    CHECK(samples == (std::vector<std::int64_t>{100, 100, 100, -1, -1, -1, -1, -1}));
    CHECK(!target.inside_batch);
  }
}

TEST(cold, the_budget_counts_the_flushes_and_the_samples_do_not) {
  const FreshClock clock;
  FakeTarget target(always(1'000));
  CountingFlush flush;
  FakeLoop loop(target);
  loop.flush_with(&flush);
  Samples samples;
  FakeCheckpoint checkpoint;
  StopPlan plan;
  plan.min_duration_ns = plan.max_duration_ns = 500'000'000;
  plan.min_samples = 1'000'000;
  const auto outcome = measure(loop, Mode::kCold, plan, samples, checkpoint);
  CHECK(outcome.reason == StopReason::kMaxDuration);
  CHECK_EQUAL(samples.count(), flush.flushes);
  CHECK(samples.count() >= 499 && samples.count() <= 501);
  for (const auto sample : samples.view()) CHECK_EQUAL(sample, 1'000);
}

}  // namespace pyperf::test
