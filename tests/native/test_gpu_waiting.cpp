// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <thread>

#include "fake_gpu.hpp"
#include "gpu/waiting.hpp"
#include "thread_limit.hpp"

namespace pyperf::test {
namespace {

using std::chrono::steady_clock;
constexpr std::int64_t kShortNs = 20'000'000;

gpu::StreamPlan plan_that_gives_up(gpu::Wait wait) {
  gpu::StreamPlan plan;
  plan.wait = wait;
  plan.timeout_ns = kShortNs;  // of the fake driver's clock when spinning, of real time when asleep
  plan.gate_timeout_ns = kShortNs / 4;
  return plan;
}

// Counts its turns, and gives the wait up at the second.
int turns = 0;
struct EnoughError {};
void twice() {
  if (++turns == 2) throw EnoughError();
}

}  // namespace

TEST(gpu_waiting, the_moment_is_when_the_waiter_woke_and_not_when_its_caller_did) {
  FakeGpu gpu;
  const gpu::Context::Current current(*gpu.context);
  const gpu::OwnedStream stream(gpu.context);
  const gpu::Event end(gpu.context, CU_EVENT_BLOCKING_SYNC);
  gpu::BlockingWaiter<FakeDriverClock> waiter(gpu.context);
  for (int round = 1; round <= 100; ++round) {
    gpu.driver.enqueue(stream.view().handle(), 12'345);
    end.record(stream.view().handle());
    const std::int64_t begin_ns = gpu.driver.now_ns();
    CHECK_EQUAL(waiter.wait(end, kLongNs), begin_ns + 12'345);
  }
  CHECK_EQUAL(gpu.driver.calls("cuEventQuery"), 0);
}

TEST(gpu_waiting, asleep_and_spinning_measure_the_same_but_for_the_polls) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    FakeGpu gpu;
    ScriptedWork work(gpu, always(5'050));
    ScriptedLoop loop({&work}, plan_with(wait));
    Table table(20, 3);
    loop.latency(table.all(), table.done);
    CHECK_EQUAL(text_of(table.column(0)), text_of(Column(20, wait == gpu::Wait::kSpin ? 5'100 : 5'050)));
    CHECK_EQUAL(text_of(table.column(2)), text_of(Column(20, 5'050)));
  }
}

TEST(gpu_waiting, what_the_work_failed_with_comes_through_either_way) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    FakeGpu gpu;
    const gpu::OwnedStream stream(gpu.context);
    const CUgraphExec graph = gpu.driver.graph_create(1'000);
    gpu.driver.graph_fault(graph, 3, CUDA_ERROR_ILLEGAL_ADDRESS);
    gpu::GraphWork work(graph, stream.view(), {});
    gpu::StreamLoop<gpu::GraphWork, FakeDriverClock> loop({&work}, plan_with(wait));
    Table table(8, 3);
    const auto message = message_of<MeasurementError>([&] { loop.latency(table.all(), table.done); });
    CHECK_HAS(message, wait == gpu::Wait::kSpin ? "cuEventQuery" : "cuEventSynchronize");
    CHECK_HAS(message, "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access");
    CHECK_EQUAL(table.done, 2);
    CHECK(gpu.context->is_lost());
  }
}

TEST(gpu_waiting, work_that_hangs_is_an_error_within_the_timeout_and_nothing_waits_for_it_afterwards) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    for (const auto mode : {Mode::kLatency, Mode::kThroughput, Mode::kCold}) {
      FakeGpu gpu;
      const auto begin = steady_clock::now();
      {
        ScriptedWork work(gpu, always(1'000));
        ScriptedLoop loop({&work}, plan_that_gives_up(wait));
        Table table(4, 3);
        loop.cold(table.all(), table.done);  // so that there is memory, which to free would wait
        gpu.driver.hang(work.handle());
        const auto run = [&] {
          mode == Mode::kLatency ? loop.latency(table.all(), table.done)
          : mode == Mode::kCold  ? loop.cold(table.all(), table.done)
                                 : loop.throughput(table.all(), table.done);
        };
        const auto message = message_of<MeasurementError>(run);
        CHECK_HAS(message, "Fake GPU 0");
        CHECK_HAS(message, "after 20 ms");
        CHECK_HAS(message, "it hangs");
        CHECK_EQUAL(table.done, 0);
        CHECK(gpu.context->is_lost());
        const auto queued = gpu.driver.pending(work.handle());
        CHECK_HAS(message_of<MeasurementError>(run), "was lost to an earlier error, or hangs");
        CHECK_HAS(message_of<MeasurementError>([&] { loop.batched(1); }), "was lost");
        CHECK_HAS(message_of<MeasurementError>([&] { loop.probe_asynchrony(); }), "was lost");
        CHECK_EQUAL(gpu.driver.pending(work.handle()), queued);  // nothing more is put behind it
        gpu.context = nullptr;
      }
      CHECK(steady_clock::now() - begin < std::chrono::seconds(30));
      for (const char* function : {"cuEventDestroy", "cuStreamDestroy", "cuMemFree", "cuMemFreeHost"}) {
        CHECK_EQUAL(gpu.driver.calls(function), 0);
      }
      CHECK_EQUAL(gpu.driver.calls("cuDevicePrimaryCtxRelease"), 0);
    }
  }
}

TEST(gpu_waiting, a_waiter_that_is_left_alone_ends_when_the_work_does) {
  FakeGpu gpu;
  const std::weak_ptr<gpu::Context> watched = gpu.context;
  {
    ScriptedWork work(gpu, always(1'000));
    ScriptedLoop loop({&work}, plan_that_gives_up(gpu::Wait::kBlock));
    gpu.driver.hang(nullptr);
    Table table(1, 3);
    CHECK_THROWS(MeasurementError, loop.latency(table.all(), table.done));
    gpu.context = nullptr;
  }
  CHECK(!watched.expired());  // it still needs it
  gpu.driver.unhang();
  const auto until = steady_clock::now() + std::chrono::seconds(60);
  while (!watched.expired() && steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(watched.expired());
}

TEST(gpu_waiting, slow_work_that_ends_within_the_timeout_is_no_hang) {
  FakeGpu gpu;
  gpu.driver.poll_step(1'000'000);
  ScriptedWork work(gpu, always(kShortNs - 1'000'000));
  ScriptedLoop loop({&work}, plan_that_gives_up(gpu::Wait::kSpin));
  Table table(1, 3);
  loop.latency(table.all(), table.done);
  CHECK_EQUAL(table.done, 1);
}

TEST(gpu_waiting, without_a_thread_to_sleep_on_it_is_an_error_and_nothing_is_left) {
  FakeGpu gpu;
  {
    ScriptedWork work(gpu, always(1'000));
    const ThreadLimit limit(0);
    CHECK_HAS(message_of<MeasurementError>([&] { ScriptedLoop({&work}, plan_with(gpu::Wait::kBlock)); }),
              "starts no further thread");
  }
  check_all_freed(gpu.driver);
}

TEST(gpu_waiting, a_waiter_that_cannot_enter_the_context_says_so) {
  FakeGpu gpu;
  const gpu::Event end(gpu.context);
  gpu.driver.fail("cuCtxPushCurrent", 1, CUDA_ERROR_OUT_OF_MEMORY);
  gpu::BlockingWaiter<FakeDriverClock> waiter(gpu.context);
  CHECK_HAS(message_of<OutOfMemoryError>([&] { waiter.wait(end, kLongNs); }), "cuCtxPushCurrent failed");
}

TEST(gpu_waiting, a_waiter_without_work_goes_at_once) {
  FakeGpu gpu;
  for (int round = 0; round < 50; ++round) gpu::BlockingWaiter<FakeDriverClock>{gpu.context};
  CHECK_EQUAL(gpu.driver.calls("cuEventSynchronize"), 0);
}

TEST(gpu_waiting, after_a_wait_that_was_cut_short_hung_work_is_given_its_timeout_and_then_nothing_is_freed) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    FakeGpu gpu;
    const auto begin = steady_clock::now();
    {
      ScriptedWork work(gpu, always(1'000));
      auto plan = plan_with(wait);
      plan.timeout_ns = 300'000'000;  // beyond the turn at which the wait is cut short
      plan.gate_timeout_ns = 100'000'000;
      plan.while_waiting = [] { throw EnoughError(); };
      ScriptedLoop loop({&work}, plan);
      Table table(2, 3);
      loop.cold(table.all(), table.done);  // so that there is memory, which to free would wait
      gpu.driver.hang(work.handle());
      CHECK_THROWS(EnoughError, loop.latency(table.all(), table.done));
      CHECK(!gpu.context->is_lost());
    }
    CHECK(gpu.context->is_lost());
    CHECK_EQUAL(gpu.driver.calls("cuMemFree") + gpu.driver.calls("cuStreamDestroy"), 0);
    CHECK(steady_clock::now() - begin < std::chrono::seconds(30));
  }
}

TEST(gpu_waiting, after_a_wait_that_was_cut_short_work_that_ends_is_waited_for_and_everything_is_freed) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    FakeGpu gpu;
    {
      ScriptedWork work(gpu, always(1'000));
      auto plan = plan_with(wait);
      plan.while_waiting = [] { throw EnoughError(); };
      ScriptedLoop loop({&work}, plan);
      Table table(2, 3);
      loop.cold(table.all(), table.done);
      gpu.driver.hang(work.handle());
      CHECK_THROWS(EnoughError, loop.latency(table.all(), table.done));
      gpu.driver.unhang();
    }
    CHECK(!gpu.context->is_lost());
    check_all_freed(gpu.driver);
  }
}

TEST(gpu_waiting, whoever_waits_gets_a_turn_that_can_end_the_wait_and_the_next_wait_is_as_good) {
  FakeGpu gpu;
  const gpu::OwnedStream stream(gpu.context);
  const gpu::Context::Current current(*gpu.context);
  const gpu::Event event(gpu.context, CU_EVENT_BLOCKING_SYNC);
  gpu::BlockingWaiter<FakeDriverClock> waiter(gpu.context);
  for (const bool asleep : {false, true}) {
    gpu.driver.hang(nullptr);
    event.record(stream.view().handle());
    turns = 0;
    CHECK_THROWS(EnoughError, asleep ? waiter.wait(event, kLongNs, &twice)
                                     : gpu::spin_until_done<FakeDriverClock>(event, kLongNs, &twice));
    CHECK_EQUAL(turns, 2);
    CHECK(!gpu.context->is_lost());
    gpu.driver.unhang();
    event.record(stream.view().handle());
    waiter.wait(event, kLongNs);
    gpu::spin_until_done<FakeDriverClock>(event, kLongNs);
  }
}

}  // namespace pyperf::test
