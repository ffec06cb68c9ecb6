// SPDX-License-Identifier: Apache-2.0
#include "fake_gpu.hpp"

namespace pyperf::test {
namespace {

std::string names_of(std::span<const Quantity> quantities) {
  std::string names;
  for (const auto quantity : quantities) names.append(names.empty() ? "" : " ").append(name_of(quantity));
  return names;
}

}  // namespace

TEST(gpu_stream_loop, each_mode_has_its_quantities_with_the_judged_one_first) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(0));
  auto plan = plan_with();
  const ScriptedLoop alone({&work}, plan);
  CHECK_EQUAL(names_of(alone.quantities(Mode::kLatency)), "latency submit gpu");
  CHECK_EQUAL(names_of(alone.quantities(Mode::kThroughput)), "period");
  CHECK_EQUAL(names_of(alone.quantities(Mode::kCold)), "gpu submit");
  plan.include_transfers = true;
  const ScriptedLoop with_transfers({&work}, plan);
  CHECK_EQUAL(names_of(with_transfers.quantities(Mode::kLatency)), "latency submit gpu h2d d2h");
  CHECK_EQUAL(names_of(with_transfers.quantities(Mode::kThroughput)), "period");
  CHECK_EQUAL(names_of(with_transfers.quantities(Mode::kCold)), "gpu submit h2d d2h");
}

TEST(gpu_stream_loop, latency_submit_and_span_are_what_the_device_and_the_calls_took) {
  FakeGpu gpu;
  gpu.driver.call_cost("fake_enqueue", 700);
  ScriptedWork work(gpu, [](std::int64_t call) { return 5'000 + 100 * call; });
  ScriptedLoop loop({&work}, plan_with());
  Table table(3, 3);
  loop.latency(table.all(), table.done);
  CHECK_EQUAL(table.done, 3);
  CHECK_COLUMN(table.column(0), {5'700, 5'800, 5'900});  // until a poll sees it, and a poll is due then
  CHECK_COLUMN(table.column(1), {700, 700, 700});
  CHECK_COLUMN(table.column(2), {5'700, 5'800, 5'900});  // the stream waits for the launch after the first event
}

TEST(gpu_stream_loop, latency_ends_with_the_poll_that_sees_it) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'001));
  ScriptedLoop loop({&work}, plan_with());
  Table table(1, 3);
  loop.latency(table.all(), table.done);
  CHECK_COLUMN(table.column(0), {5'100});
  CHECK_COLUMN(table.column(2), {5'001});
}

TEST(gpu_stream_loop, the_first_event_is_outside_of_the_host_window_and_the_last_in_it_but_no_part_of_submit) {
  FakeGpu gpu;
  gpu.driver.call_cost("cuEventRecord", 3'000);
  gpu.driver.call_cost("fake_enqueue", 700);
  ScriptedWork work(gpu, always(0));
  ScriptedLoop loop({&work}, plan_with());
  Table table(2, 3);
  loop.latency(table.all(), table.done);
  CHECK_COLUMN(table.column(0), {3'700, 3'700});
  CHECK_COLUMN(table.column(1), {700, 700});
  CHECK_COLUMN(table.column(2), {3'700, 3'700});
}

TEST(gpu_stream_loop, a_sample_is_begin_work_end_and_polls_and_the_span_is_read_after_it) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(2 * kPollNs));
  ScriptedLoop loop({&work}, plan_with());
  Table table(2, 3);
  gpu.driver.log(true);
  loop.latency(table.all(), table.done);
  const std::string sample =
      "cuEventRecord fake_enqueue cuEventRecord cuEventQuery cuEventQuery cuEventQuery cuEventElapsedTime";
  CHECK_EQUAL(calls_of(gpu.driver), sample + " " + sample);
}

TEST(gpu_stream_loop, transfers_stand_apart_from_the_work_and_within_the_latency) {
  FakeGpu gpu;
  gpu.driver.call_cost("fake_enqueue", 100);
  ScriptedWork work(gpu, always(9'000));
  work.h2d_ns = 2'000;
  work.d2h_ns = 4'000;
  auto plan = plan_with();
  plan.include_transfers = true;
  ScriptedLoop loop({&work}, plan);
  Table table(2, 5);
  loop.latency(table.all(), table.done);
  CHECK_COLUMN(table.column(0), {15'100, 15'100});
  CHECK_COLUMN(table.column(1), {300, 300});  // all three are handed over
  CHECK_COLUMN(table.column(2), {9'000, 9'000});
  CHECK_COLUMN(table.column(3), {2'100, 2'100});  // with the wait for the first copy to be queued
  CHECK_COLUMN(table.column(4), {4'000, 4'000});
}

TEST(gpu_stream_loop, without_transfers_none_are_queued) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(0));
  work.h2d_ns = work.d2h_ns = 1'000'000;
  ScriptedLoop loop({&work}, plan_with());
  Table table(4, 3);
  loop.latency(table.all(), table.done);
  CHECK_COLUMN(table.column(0), {0, 0, 0, 0});
  CHECK_EQUAL(loop.batched(4), 0);
}

TEST(gpu_stream_loop, settling_is_in_no_window) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(1'000));
  ScriptedLoop loop({&work}, plan_with());
  Table table(3, 3);
  work.before = [&](std::int64_t call) { CHECK_EQUAL(work.settled, call); };  // each before the next begins
  loop.latency(table.all(), table.done);
  CHECK_EQUAL(work.settled, 3);
}

TEST(gpu_stream_loop, batched_is_the_time_of_all_calls_by_the_host) {
  FakeGpu gpu;
  gpu.driver.call_cost("cuEventRecord", 50);
  ScriptedWork work(gpu, always(950));
  ScriptedLoop loop({&work}, plan_with());
  CHECK_EQUAL(loop.batched(10), 10 * 950);  // the record is made while the work runs
  CHECK_EQUAL(work.calls, 10);
  CHECK_EQUAL(work.settled, 10);
}

TEST(gpu_stream_loop, a_clock_that_drops_shows_in_the_span) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(10'000));
  work.before = [&](std::int64_t call) { gpu.driver.clock_drop(call < 2 ? 1.0 : 1.75); };
  ScriptedLoop loop({&work}, plan_with());
  Table table(4, 3);
  loop.latency(table.all(), table.done);
  CHECK_COLUMN(table.column(2), {10'000, 10'000, 17'500, 17'500});
}

TEST(gpu_stream_loop, spans_are_whole_ticks_of_the_events_clock) {
  FakeGpu gpu;
  gpu.driver.event_tick(512);
  ScriptedWork work(gpu, [](std::int64_t call) { return 10'000 + 7 * call; });
  ScriptedLoop loop({&work}, plan_with());
  Table table(200, 3);
  loop.latency(table.all(), table.done);
  for (const auto span_ns : table.column(2)) CHECK_EQUAL(span_ns % 512, 0);
}

TEST(gpu_stream_loop, a_slow_first_launch_is_the_first_samples_alone) {
  FakeGpu gpu;
  gpu.driver.slow_first_launch(3'000'000);
  const gpu::OwnedStream stream(gpu.context);
  gpu::GraphWork work(gpu.driver.graph_create(1'000), stream.view(), {});
  gpu::StreamLoop<gpu::GraphWork, FakeDriverClock> loop({&work}, plan_with());
  Table table(3, 3);
  loop.latency(table.all(), table.done);
  CHECK_COLUMN(table.column(0), {3'001'000, 1'000, 1'000});
  CHECK_COLUMN(table.column(1), {3'000'000, 0, 0});
}

TEST(gpu_stream_loop, the_context_and_the_scope_are_there_for_a_batch_and_gone_after_it) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(0));
  work.before = [&](std::int64_t) { CHECK(work.scopes > 0); };
  ScriptedLoop loop({&work}, plan_with());
  Table table(50, 3);
  loop.latency(table.all(), table.done);
  loop.throughput(table.all(), table.done);
  loop.cold(table.all(), table.done);
  loop.batched(50);
  work.before = [](std::int64_t) { throw MeasurementError("the scripted failure"); };
  CHECK_THROWS(MeasurementError, loop.latency(table.all(), table.done));
  CHECK_EQUAL(work.scopes, 0);
  CHECK_EQUAL(gpu.driver.calls("cuCtxPopCurrent"), gpu.driver.calls("cuCtxPushCurrent"));
  // One for a batch, and those of what mode cold makes, but not one for a call.
  CHECK(gpu.driver.calls("cuCtxPushCurrent") < 100);
}

TEST(gpu_stream_loop, done_says_what_was_finished_before_a_throw_and_the_next_batch_is_well) {
  for (const auto mode : {Mode::kLatency, Mode::kCold}) {
    FakeGpu gpu;
    ScriptedWork work(gpu, always(1'000));
    ScriptedLoop loop({&work}, plan_with());
    loop.probe_asynchrony();
    work.before = [probes = work.calls](std::int64_t call) {
      if (call == probes + 3) throw MeasurementError("the scripted failure");
    };
    Table table(8, 3);
    const auto run = [&] {
      mode == Mode::kCold ? loop.cold(table.all(), table.done) : loop.latency(table.all(), table.done);
    };
    CHECK_THROWS(MeasurementError, run());
    CHECK_EQUAL(table.done, 3);
    work.before = nullptr;
    run();
    CHECK_EQUAL(table.done, 8);
    CHECK_EQUAL(work.settled, work.calls);
  }
}

TEST(gpu_stream_loop, what_a_failed_call_left_is_settled_before_the_next_batch) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(1'000));
  ScriptedLoop loop({&work}, plan_with());
  Table table(2, 3);
  gpu.driver.fail("cuEventQuery", 1, CUDA_ERROR_INVALID_VALUE);
  CHECK_THROWS(MeasurementError, loop.latency(table.all(), table.done));
  CHECK(work.unsettled);
  work.before = [&](std::int64_t) { CHECK(!work.unsettled); };
  loop.latency(table.all(), table.done);
  CHECK_EQUAL(work.settled, 3);
}

TEST(gpu_stream_loop, work_on_no_stream_or_on_two_gpus_is_refused) {
  FakeGpu gpu;
  const auto other = std::make_shared<gpu::Context>(gpu.cuda, 1);
  CHECK_THROWS(UsageError, ScriptedLoop({}, plan_with()));
  ScriptedWork here(gpu, always(0));
  ScriptedWork there(gpu.driver, other, always(0));
  CHECK_THROWS(UsageError, ScriptedLoop({&here, &there}, plan_with()));
}

TEST(gpu_stream_loop, plans_that_contradict_themselves_are_refused) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(0));
  const auto refused = [&](auto change) {
    gpu::StreamPlan plan;
    change(plan);
    return message_of<UsageError>([&] { ScriptedLoop({&work}, plan); });
  };
  CHECK_HAS(refused([](auto& plan) { plan.timeout_ns = 0; }), "longer than 0");
  CHECK_HAS(refused([](auto& plan) { plan.gate_timeout_ns = -1; }), "longer than 0");
  CHECK_HAS(refused([](auto& plan) { plan.gate_timeout_ns = plan.timeout_ns; }), "shorter than that of a call");
  CHECK_HAS(refused([](auto& plan) { plan.timeout_ns = INT64_MAX; }), "31 years");
  CHECK_HAS(refused([](auto& plan) { plan.in_flight = 0; }), "at least one");
  CHECK_HAS(refused([](auto& plan) { plan.in_flight = INT64_MAX; }), "at most 10000");
  check(gpu::StreamPlan{});
}

}  // namespace pyperf::test
