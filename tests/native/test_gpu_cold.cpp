// SPDX-License-Identifier: Apache-2.0
#include <chrono>

#include "fake_gpu.hpp"

namespace pyperf::test {
namespace {

constexpr std::int64_t kShortNs = 30'000'000;  // of a gate that is meant to time out
constexpr std::int64_t kL2Bytes = 50 << 20;    // the fake device's
constexpr std::int64_t kFlushNs = 32'768;      // twice that at 3.2 TB/s

bool is_waiting(FakeGpu& gpu, const ScriptedWork& work) {
  gpu.driver.advance(1'000'000'000);
  return gpu.driver.pending(work.handle()) > 0;
}

}  // namespace

TEST(gpu_cold, flush_gate_begin_work_end_and_then_the_gate_opens) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with());
  Table table(1, 2);
  loop.cold(table.all(), table.done);
  gpu.driver.log(true);
  work.before = [&](std::int64_t) { CHECK(is_waiting(gpu, work)); };
  loop.cold(table.all(), table.done);
  CHECK(calls_of(gpu.driver)
            .starts_with("cuMemsetD32Async cuStreamWaitValue32 cuEventRecord fake_enqueue cuEventRecord cuEventQuery"));
}

TEST(gpu_cold, the_span_is_the_works_own_however_long_the_host_takes_to_queue_it) {
  FakeGpu gpu;
  gpu.driver.call_cost("fake_enqueue", 700'000);
  gpu.driver.call_cost("cuEventRecord", 90'000);  // so the gate was closed until the last was made
  ScriptedWork work(gpu, [](std::int64_t call) { return 5'000 + call; });
  ScriptedLoop loop({&work}, plan_with());
  loop.probe_asynchrony();
  const std::int64_t probes = work.calls;
  Table table(3, 2);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 3);
  CHECK_COLUMN(table.column(0), {5'000 + probes, 5'001 + probes, 5'002 + probes});
  CHECK_COLUMN(table.column(1), {700'000, 700'000, 700'000});
  CHECK(loop.is_gated());
  CHECK_EQUAL(loop.gate_reason(), "");
  CHECK_EQUAL(loop.gate_timeouts(), 0);
}

TEST(gpu_cold, transfers_stand_apart_behind_the_gate_too) {
  FakeGpu gpu;
  gpu.driver.call_cost("fake_enqueue", 100);
  ScriptedWork work(gpu, always(9'000));
  work.h2d_ns = 2'000;
  work.d2h_ns = 4'000;
  auto plan = plan_with();
  plan.include_transfers = true;
  ScriptedLoop loop({&work}, plan);
  Table table(2, 4);
  loop.cold(table.all(), table.done);
  CHECK_COLUMN(table.column(0), {9'000, 9'000});
  CHECK_COLUMN(table.column(1), {300, 300});
  CHECK_COLUMN(table.column(2), {2'000, 2'000});
  CHECK_COLUMN(table.column(3), {4'000, 4'000});
}

TEST(gpu_cold, twice_the_l2_cache_is_written_before_each_call) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  auto plan = plan_with();
  plan.gate = false;
  {
    ScriptedLoop loop({&work}, plan);
    CHECK_EQUAL(loop.flush_bytes(), 0);
    Table table(4, 2);
    const std::int64_t begin_ns = gpu.driver.now_ns();
    loop.cold(table.all(), table.done);
    CHECK_EQUAL(loop.flush_bytes(), 2 * kL2Bytes);
    CHECK_EQUAL(gpu.driver.live("device_bytes"), 2 * kL2Bytes);
    CHECK_EQUAL(gpu.driver.calls("cuMemsetD32Async"), 4);
    CHECK(gpu.driver.now_ns() - begin_ns >= 4 * (kFlushNs + 5'000));  // so it was all of that memory
    loop.cold(table.all(), table.done);
    CHECK_EQUAL(gpu.driver.calls("cuMemAlloc"), 1);
  }
  CHECK_EQUAL(gpu.driver.live("device_bytes"), 0);
}

TEST(gpu_cold, without_a_gate_the_flush_is_over_before_the_window_opens) {
  FakeGpu gpu;
  gpu.driver.call_cost("fake_enqueue", 700);
  ScriptedWork work(gpu, always(5'000));
  auto plan = plan_with();
  plan.gate = false;
  ScriptedLoop loop({&work}, plan);
  work.before = [&](std::int64_t) { CHECK_EQUAL(gpu.driver.pending(work.handle()), 1); };  // the first event
  Table table(3, 2);
  loop.cold(table.all(), table.done);
  CHECK_COLUMN(table.column(0), {5'700, 5'700, 5'700});  // and the wait for the launch is in the span
  CHECK_COLUMN(table.column(1), {700, 700, 700});
  CHECK(!loop.is_gated());
  CHECK_EQUAL(loop.gate_reason(), "switched off");
  CHECK_EQUAL(gpu.driver.calls("cuStreamWaitValue32"), 0);
}

TEST(gpu_cold, a_submit_that_blocks_behind_the_gate_is_let_go_thrown_away_and_counted) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, kShortNs));
  gpu.driver.log(true);
  work.before = [&](std::int64_t) { gpu.driver.block_submit_behind_gate(work.calls == 3); };
  Table table(8, 2);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 8);
  CHECK(loop.is_gated());
  CHECK(loop.gate_timeouts() >= 1);  // and more where this machine stood still
  CHECK_EQUAL(text_of(table.column(0)), text_of(Column(8, 5'000)));
}

TEST(gpu_cold, five_timeouts_in_a_row_are_an_error_that_says_what_to_do) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, kShortNs));
  loop.probe_asynchrony();
  const std::int64_t probes = work.calls;
  gpu.driver.block_submit_behind_gate(true);
  Table table(8, 2);
  const auto message = message_of<MeasurementError>([&] { loop.cold(table.all(), table.done); });
  CHECK_HAS(message, "5 times in this batch");
  CHECK_HAS(message, "without the gate");
  CHECK_EQUAL(table.done, 0);
  CHECK_EQUAL(work.calls, probes + 5);
  CHECK_EQUAL(loop.gate_timeouts(), 5);
}

TEST(gpu_cold, timeouts_now_and_then_are_no_error) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, kShortNs));
  loop.probe_asynchrony();
  Table table(14, 2);
  std::int64_t finished = -1;
  work.before = [&](std::int64_t) {  // blocks the first try of every other sample
    gpu.driver.block_submit_behind_gate(table.done % 2 == 0 && table.done != finished);
    finished = table.done;
  };
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 14);
  CHECK(loop.gate_timeouts() >= 7);
}

TEST(gpu_cold, more_timeouts_than_samples_are_an_error_also_where_they_are_not_in_a_row) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, kShortNs));
  loop.probe_asynchrony();
  Table table(1'000, 2);
  std::int64_t finished = -1;
  int tries = 0;
  work.before = [&](std::int64_t) {  // blocks the first two tries of every sample
    tries = table.done == finished ? tries + 1 : 1;
    finished = table.done;
    gpu.driver.block_submit_behind_gate(tries <= 2);
  };
  CHECK_HAS(message_of<MeasurementError>([&] { loop.cold(table.all(), table.done); }), "could not be held back");
  CHECK(table.done <= 2);
}

TEST(gpu_cold, a_full_queue_behind_the_gate_is_let_go_too) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, kShortNs));
  loop.probe_asynchrony();
  gpu.driver.queue_limit(3);  // flush, gate, begin: there is no room for the work
  Table table(1, 2);
  CHECK_THROWS(MeasurementError, loop.cold(table.all(), table.done));
  gpu.driver.queue_limit(5);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 1);
}

TEST(gpu_cold, work_that_is_waited_for_inside_of_submit_is_not_held_back) {
  FakeGpu gpu;
  gpu.driver.sync_inside_launch(true);
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, kShortNs));
  Table table(5, 2);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 5);
  CHECK_EQUAL(text_of(table.column(0)), text_of(Column(5, 5'000)));
  CHECK(loop.asynchrony() == gpu::Asynchrony::kSynchronises);
  CHECK(!loop.is_gated());
  CHECK_HAS(loop.gate_reason(), "submit waits");
  CHECK_EQUAL(loop.gate_timeouts(), 0);
}

TEST(gpu_cold, a_device_that_cannot_be_held_back_is_measured_without_and_says_so) {
  FakeGpu gpu;
  gpu.driver.device_attribute(0, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 0);
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with());
  Table table(5, 2);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 5);
  CHECK(!loop.is_gated());
  CHECK_EQUAL(loop.gate_reason(), "this device cannot be held back");
}

TEST(gpu_cold, a_failure_in_submit_opens_the_gate_at_once) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with());  // whose timeout is longer than this test
  loop.probe_asynchrony();
  work.before = [](std::int64_t) { throw MeasurementError("the scripted failure"); };
  Table table(5, 2);
  CHECK_HAS(message_of<MeasurementError>([&] { loop.cold(table.all(), table.done); }), "scripted");
  gpu.driver.advance(1'000'000);
  CHECK_EQUAL(gpu.driver.pending(work.handle()), 0);
  for (const char* function : {"cuEventRecord", "cuStreamWaitValue32"}) {
    gpu.driver.fail(function, 2, CUDA_ERROR_INVALID_VALUE);
    work.before = nullptr;
    CHECK_HAS(message_of<MeasurementError>([&] { loop.cold(table.all(), table.done); }), function);
    gpu.driver.advance(1'000'000);
    CHECK_EQUAL(gpu.driver.pending(work.handle()), 0);
  }
}

TEST(gpu_cold, a_device_without_a_known_l2_cache_is_refused) {
  FakeGpu gpu;
  gpu.driver.device_attribute(0, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 0);
  const auto context = std::make_shared<gpu::Context>(gpu.cuda, 0);
  ScriptedWork work(gpu.driver, context, always(5'000));
  ScriptedLoop loop({&work}, plan_with());
  Table table(1, 2);
  const auto message = message_of<MeasurementError>([&] { loop.cold(table.all(), table.done); });
  CHECK_HAS(message, "L2 cache of Fake GPU 0");
  CHECK_HAS(message, "mode cold");
}

TEST(gpu_cold, no_room_for_the_flush_says_so_and_can_be_tried_again) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with());
  gpu.driver.memory_limit(kL2Bytes);
  Table table(2, 2);
  const auto message = message_of<OutOfMemoryError>([&] { loop.cold(table.all(), table.done); });
  CHECK_HAS(message, std::to_string(2 * kL2Bytes) + " bytes were asked for");
  CHECK_HAS(message, std::to_string(kL2Bytes) + " are free");
  gpu.driver.memory_limit(0);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 2);
  CHECK(loop.is_gated());
}

TEST(gpu_cold, waiting_asleep_measures_the_same) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kBlock));
  Table table(5, 2);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(text_of(table.column(0)), text_of(Column(5, 5'000)));
}

}  // namespace pyperf::test
