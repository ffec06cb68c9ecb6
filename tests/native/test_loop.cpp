// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"
#include "core/error.hpp"
#include "fakes.hpp"

namespace pyperf::test {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

TEST(loop, latency_reads_the_clock_right_before_submit_and_right_after_wait) {
  std::vector<std::string> log;
  const FreshClock clock(0, &log);
  FakeTarget target(always(10));
  target.log = &log;
  std::vector<std::int64_t> samples(2);
  std::int64_t done = 0;
  FakeLoop(target).latency(samples, done);
  CHECK_EQUAL(joined(log), "clock submit wait clock settle clock submit wait clock settle");
  CHECK_EQUAL(done, 2);
}

TEST(loop, latency_is_submit_and_wait_without_settle) {
  const FreshClock clock;
  FakeTarget target([](std::int64_t call) { return 100 + call; }, always(20), always(5'000));
  std::vector<std::int64_t> samples(3);
  std::int64_t done = 0;
  FakeLoop(target).latency(samples, done);
  CHECK(samples == (std::vector<std::int64_t>{120, 121, 122}));
}

TEST(loop, latency_counts_one_reading_of_the_clock_a_sample) {
  const FreshClock clock(7);
  FakeTarget target(always(100));
  std::vector<std::int64_t> samples(2);
  std::int64_t done = 0;
  FakeLoop(target).latency(samples, done);
  CHECK(samples == (std::vector<std::int64_t>{107, 107}));
}

TEST(loop, throughput_samples_are_periods_between_completions_and_settle_counts) {
  std::vector<std::string> log;
  const FreshClock clock(0, &log);
  FakeTarget target([](std::int64_t call) { return 100 * (call + 1); }, always(20), always(3));
  target.log = &log;
  std::vector<std::int64_t> samples(3);
  std::int64_t done = 0;
  FakeLoop(target).throughput(samples, done);
  CHECK(samples == (std::vector<std::int64_t>{123, 223, 323}));
  CHECK_EQUAL(samples[0] + samples[1] + samples[2], FakeClock::time_ns);
  CHECK_EQUAL(joined(log).substr(0, 31), "clock submit wait settle clock ");
}

TEST(loop, batched_reads_the_clock_twice_for_all_calls) {
  std::vector<std::string> log;
  const FreshClock clock(0, &log);
  FakeTarget target(always(100), always(20), always(3));
  target.log = &log;
  CHECK_EQUAL(FakeLoop(target).batched(2), 246);
  CHECK_EQUAL(joined(log), "clock submit wait settle submit wait settle clock");
}

TEST(loop, done_says_what_was_finished_before_a_throw) {
  for (const bool throughput : {false, true}) {
    const FreshClock clock;
    FakeTarget target(always(100));
    target.throw_at = 3;
    std::vector<std::int64_t> samples(8, -1);
    std::int64_t done = 77;
    FakeLoop loop(target);
    CHECK_THROWS(MeasurementError, throughput ? loop.throughput(samples, done) : loop.latency(samples, done));
    CHECK_EQUAL(done, 3);
    CHECK(samples == (std::vector<std::int64_t>{100, 100, 100, -1, -1, -1, -1, -1}));
    CHECK(!target.inside_batch);
  }
}

TEST(loop, the_batch_scope_is_made_once_a_batch) {
  const FreshClock clock;
  FakeTarget target(always(1));
  std::vector<std::int64_t> samples(50);
  std::int64_t done = 0;
  FakeLoop loop(target);
  loop.latency(samples, done);
  loop.throughput(samples, done);
  loop.batched(50);
  CHECK_EQUAL(target.batches, 3);
  CHECK_EQUAL(target.calls, 150);
}

}  // namespace pyperf::test
