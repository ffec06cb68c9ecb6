// SPDX-License-Identifier: Apache-2.0
#include "fake_gpu.hpp"
#include "gpu/overhead.hpp"

namespace pyperf::test {

TEST(gpu_overhead, an_empty_pair_of_events_reads_what_a_record_takes) {
  FakeGpu gpu;
  gpu.driver.record_cost(1'300);
  const gpu::OwnedStream stream(gpu.context);
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    const auto overhead = gpu::measure_event_overhead(stream.view(), plan_with(wait));
    CHECK_EQUAL(overhead.span_ns, 1'300);
    CHECK_EQUAL(overhead.step_ns, 0);  // all were alike, so nothing tells the step
    CHECK(overhead.latency_ns > 0);
  }
}

TEST(gpu_overhead, the_step_is_the_smallest_difference_of_two_spans) {
  FakeGpu gpu;
  gpu.driver.call_cost("cuEventRecord", 100);
  gpu.driver.record_cost(700);
  gpu.driver.event_tick(512);
  gpu.driver.poll_step(333);
  const gpu::OwnedStream stream(gpu.context);
  const auto overhead = gpu::measure_event_overhead(stream.view(), plan_with());
  CHECK_EQUAL(overhead.step_ns, 512);
  CHECK(overhead.span_ns == 512 || overhead.span_ns == 1'024);
}

TEST(gpu_overhead, it_is_of_two_events_also_where_the_plan_has_transfers) {
  FakeGpu gpu;
  const gpu::OwnedStream stream(gpu.context);
  auto plan = plan_with();
  plan.include_transfers = true;
  gpu::measure_event_overhead(stream.view(), plan);
  CHECK_EQUAL(gpu.driver.calls("cuEventRecord"), 2 * gpu.driver.calls("cuEventElapsedTime"));
}

TEST(gpu_overhead, it_leaves_nothing_behind) {
  FakeGpu gpu;
  {
    ScriptedWork work(gpu, always(0));
    ScriptedLoop loop({&work}, plan_with());
    const auto events = gpu.driver.live("events");
    loop.measure_overhead();
    CHECK_EQUAL(gpu.driver.live("events"), events);
    CHECK_EQUAL(work.calls, 0);
  }
  check_all_freed(gpu.driver);
}

}  // namespace pyperf::test
