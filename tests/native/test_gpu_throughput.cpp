// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <random>

#include "fake_gpu.hpp"

namespace pyperf::test {
namespace {

gpu::StreamPlan plan_in_flight(std::int64_t calls, gpu::Wait wait = gpu::Wait::kSpin) {
  auto plan = plan_with(wait);
  plan.in_flight = calls;
  return plan;
}

std::int64_t sum(const Column& column) { return std::accumulate(column.begin(), column.end(), std::int64_t{0}); }

// Calls of random lengths on several streams, all of which are queued at one moment.
struct RandomLanes {
  RandomLanes(FakeGpu& gpu, std::size_t lanes, std::size_t calls, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::uniform_int_distribution<std::int64_t> length_ns(1, 50'000);
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      Column lengths(calls);
      for (auto& length : lengths) length = length_ns(random);
      std::int64_t end_ns = 0;
      for (const auto length : lengths) ends_ns.push_back(end_ns += length);
      works.emplace_back(gpu, [lengths](std::int64_t call) { return lengths.at(static_cast<std::size_t>(call)); });
      pointers.push_back(&works.back());
    }
    std::sort(ends_ns.begin(), ends_ns.end());
  }

  std::list<ScriptedWork> works;
  std::vector<ScriptedWork*> pointers;
  Column ends_ns;  // of all calls, in their order, counted from the moment
};

}  // namespace

TEST(gpu_throughput, periods_of_one_stream_are_the_lengths_of_its_calls) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    FakeGpu gpu;
    ScriptedWork work(gpu, [](std::int64_t call) { return 10'000 + 1'000 * call; });
    ScriptedLoop loop({&work}, plan_in_flight(3, wait));
    Table table(5, 1);
    loop.throughput(table.all(), table.done);
    CHECK_EQUAL(table.done, 5);
    CHECK_COLUMN(table.column(0), {11'000, 12'000, 13'000, 14'000, 15'000});  // the first call only fills the queue
    CHECK_EQUAL(work.calls, 6);
    CHECK_EQUAL(work.settled, 6);
  }
}

TEST(gpu_throughput, periods_are_the_devices_and_not_when_the_host_looked) {
  FakeGpu gpu;
  gpu.driver.poll_step(7'777);
  ScriptedWork work(gpu, always(10'000));
  ScriptedLoop loop({&work}, plan_in_flight(4));
  Table table(20, 1);
  loop.throughput(table.all(), table.done);
  CHECK_COLUMN(table.column(0), (20, 10'000));
}

TEST(gpu_throughput, a_host_that_is_slower_than_the_device_sets_the_period) {
  FakeGpu gpu;
  gpu.driver.call_cost("fake_enqueue", 25'000);
  ScriptedWork work(gpu, always(10'000));
  ScriptedLoop loop({&work}, plan_in_flight(4));
  Table table(20, 1);
  loop.throughput(table.all(), table.done);
  CHECK_COLUMN(table.column(0), (20, 25'000));
}

TEST(gpu_throughput, with_several_streams_a_sample_is_the_mean_of_as_many_periods_of_sorted_completions) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    FakeGpu gpu;
    const std::size_t lanes = 1 + seed % 5;
    constexpr std::size_t kRows = 13;
    RandomLanes random(gpu, lanes, kRows + 1, seed);
    ScriptedLoop loop(random.pointers, plan_in_flight(kRows + 1));
    Table table(kRows, 1);
    loop.throughput(table.all(), table.done);
    CHECK_EQUAL(table.done, static_cast<std::int64_t>(kRows));
    Column wanted;
    for (std::size_t row = 1; row <= kRows; ++row) {
      const std::int64_t begin_ns = random.ends_ns[row * lanes - 1];
      wanted.push_back((random.ends_ns[(row + 1) * lanes - 1] - begin_ns) / static_cast<std::int64_t>(lanes));
    }
    CHECK_EQUAL(text_of(table.column(0)), text_of(wanted));
    // Together they are the time between the last of the calls that do not count and the last of all.
    const std::int64_t together_ns = random.ends_ns.back() - random.ends_ns[lanes - 1];
    const auto width = static_cast<std::int64_t>(lanes);
    CHECK(sum(table.column(0)) * width <= together_ns);
    CHECK(sum(table.column(0)) * width > together_ns - width * static_cast<std::int64_t>(kRows));  // whole nanoseconds
  }
}

TEST(gpu_throughput, several_streams_overlap_and_their_period_is_shorter_by_as_much) {
  FakeGpu gpu;
  std::list<ScriptedWork> works;
  std::vector<ScriptedWork*> pointers;
  for (int lane = 0; lane < 4; ++lane) pointers.push_back(&works.emplace_back(gpu, always(40'000)));
  ScriptedLoop loop(pointers, plan_in_flight(2));
  Table table(10, 1);
  loop.throughput(table.all(), table.done);
  CHECK_COLUMN(table.column(0), (10, 10'000));
  for (const auto& work : works) CHECK_EQUAL(work.calls, 11);
}

TEST(gpu_throughput, so_many_calls_are_in_flight_on_each_stream_and_no_more) {
  for (const std::int64_t limit : {1, 2, 5, 16}) {
    FakeGpu gpu;
    ScriptedWork one(gpu, always(10'000));
    ScriptedWork other(gpu, always(15'000));
    std::int64_t most = 0;
    const auto look_at = [&](ScriptedWork& work) {
      return [&gpu, &work, &most](std::int64_t call) {
        if (call == 0) return;                                 // behind the event that times count from
        const int queued = gpu.driver.pending(work.handle());  // work and an event for each call
        most = std::max<std::int64_t>(most, (queued + 1) / 2 + 1);
      };
    };
    one.before = look_at(one);
    other.before = look_at(other);
    ScriptedLoop loop({&one, &other}, plan_in_flight(limit));
    Table table(40, 1);
    loop.throughput(table.all(), table.done);
    CHECK_EQUAL(most, limit);
  }
}

TEST(gpu_throughput, transfers_are_part_of_the_period) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(10'000));
  work.h2d_ns = 2'000;
  work.d2h_ns = 3'000;
  auto plan = plan_in_flight(4);
  plan.include_transfers = true;
  ScriptedLoop loop({&work}, plan);
  Table table(5, 1);
  loop.throughput(table.all(), table.done);
  CHECK_COLUMN(table.column(0), (5, 15'000));
}

TEST(gpu_throughput, batches_begin_anew_whatever_was_before) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(10'000));
  ScriptedLoop loop({&work}, plan_in_flight(3));
  for (const std::size_t rows : {1, 7, 2}) {
    gpu.driver.advance(1'000'000);
    Table table(rows, 1);
    loop.throughput(table.all(), table.done);
    CHECK_EQUAL(text_of(table.column(0)), text_of(Column(rows, 10'000)));
  }
}

TEST(gpu_throughput, what_was_complete_before_a_failure_is_kept) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(10'000));
  work.before = [](std::int64_t call) {
    if (call == 10) throw MeasurementError("the scripted failure");
  };
  ScriptedLoop loop({&work}, plan_in_flight(4));
  Table table(50, 1);
  CHECK_THROWS(MeasurementError, loop.throughput(table.all(), table.done));
  CHECK_EQUAL(table.done, 6);  // of the 10 calls 3 were in flight, and the first does not count
  CHECK_EQUAL(text_of(table.column(0)).substr(0, 38), "10000 10000 10000 10000 10000 10000 -1");
}

TEST(gpu_throughput, of_several_streams_only_what_no_other_completion_can_come_before_is_kept) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    FakeGpu gpu;
    const std::size_t lanes = 1 + seed % 4;
    RandomLanes random(gpu, lanes, 100, seed);
    const std::int64_t fails_at = 20 + static_cast<std::int64_t>(seed);
    random.works.front().before = [&](std::int64_t call) {
      if (call == fails_at) throw MeasurementError("the scripted failure");
    };
    ScriptedLoop failing(random.pointers, plan_in_flight(5));
    Table kept(90, 1);
    CHECK_THROWS(MeasurementError, failing.throughput(kept.all(), kept.done));

    FakeGpu again;
    RandomLanes same(again, lanes, 100, seed);
    ScriptedLoop whole(same.pointers, plan_in_flight(5));
    Table all(90, 1);
    whole.throughput(all.all(), all.done);
    CHECK(kept.done >= fails_at - 3 - 5 * static_cast<std::int64_t>(lanes));
    for (std::int64_t row = 0; row < kept.done; ++row) {
      CHECK_EQUAL(kept.values[static_cast<std::size_t>(row)], all.values[static_cast<std::size_t>(row)]);
    }
  }
}

}  // namespace pyperf::test
