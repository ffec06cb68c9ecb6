// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "fake_gpu.hpp"

namespace pyperf::test {
namespace {

constexpr std::int64_t kShortNs = 30'000'000;

void cannot_be_held_back(FakeGpu& gpu) {
  gpu.driver.device_attribute(0, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 0);
}

}  // namespace

TEST(gpu_asynchrony, nothing_is_said_before_it_was_looked_at) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  const ScriptedLoop loop({&work}, plan_with());
  CHECK(loop.asynchrony() == gpu::Asynchrony::kUnknown);
  CHECK_EQUAL(loop.asynchrony_evidence(), "not looked at");
  CHECK_EQUAL(loop.gate_reason(), "no cold sample was taken");
}

TEST(gpu_asynchrony, a_submit_that_returns_behind_a_closed_gate_proves_it_even_of_work_that_takes_no_time) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(0));
  ScriptedLoop loop({&work}, plan_with());
  CHECK(loop.probe_asynchrony() == gpu::Asynchrony::kProved);
  CHECK_HAS(loop.asynchrony_evidence(), "submit returned while the stream was held back");
  CHECK_EQUAL(work.calls, 1);
  CHECK_EQUAL(work.settled, 1);
}

TEST(gpu_asynchrony, a_submit_that_waits_for_its_work_is_found) {
  FakeGpu gpu;
  gpu.driver.sync_inside_launch(true);
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, kShortNs));
  CHECK(loop.probe_asynchrony() == gpu::Asynchrony::kSynchronises);
  CHECK_EQUAL(std::string(name_of(loop.asynchrony())), "sync_inside_submit");
  CHECK_HAS(loop.asynchrony_evidence(), "within 30 ms");
  CHECK_HAS(loop.asynchrony_evidence(), "3 times");
  CHECK_EQUAL(work.calls, 3);
}

TEST(gpu_asynchrony, a_first_launch_that_blocks_alone_is_no_synchronising_target) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  work.before = [&](std::int64_t call) { gpu.driver.block_submit_behind_gate(call == 0); };
  ScriptedLoop loop({&work}, plan_with(gpu::Wait::kSpin, 200'000'000));
  CHECK(loop.probe_asynchrony() == gpu::Asynchrony::kProved);
  CHECK(work.calls > 1);
}

TEST(gpu_asynchrony, without_a_gate_work_that_goes_on_after_submit_proves_it) {
  FakeGpu gpu;
  cannot_be_held_back(gpu);
  ScriptedWork work(gpu, always(5'000'000));
  ScriptedLoop loop({&work}, plan_with());
  CHECK(loop.probe_asynchrony() == gpu::Asynchrony::kProved);
  CHECK_HAS(loop.asynchrony_evidence(), "went on for long after submit had returned");
}

TEST(gpu_asynchrony, a_plan_without_a_gate_is_kept_to_here_too) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000'000));
  auto plan = plan_with();
  plan.gate = false;  // as under a profiler, which may run one thing after another
  ScriptedLoop loop({&work}, plan);
  CHECK(loop.probe_asynchrony() == gpu::Asynchrony::kProved);
  CHECK_EQUAL(gpu.driver.calls("cuStreamWaitValue32"), 0);
}

TEST(gpu_asynchrony, without_a_gate_work_that_is_all_but_done_after_submit_proves_nothing) {
  for (const bool waits : {true, false}) {
    FakeGpu gpu;
    cannot_be_held_back(gpu);
    gpu.driver.sync_inside_launch(waits);
    ScriptedWork work(gpu, always(waits ? 5'000'000 : 0));
    ScriptedLoop loop({&work}, plan_with());
    CHECK(loop.probe_asynchrony() == gpu::Asynchrony::kUnknown);
    CHECK_HAS(loop.asynchrony_evidence(), "was not held back");
    CHECK_EQUAL(work.calls, 1);
  }
}

TEST(gpu_asynchrony, a_failure_while_it_is_looked_at_leaves_it_to_be_looked_at_again) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(5'000));
  ScriptedLoop loop({&work}, plan_with());
  gpu.driver.fail("cuStreamWaitValue32", 1, CUDA_ERROR_OUT_OF_MEMORY);  // not: cannot wait
  CHECK_THROWS(OutOfMemoryError, loop.probe_asynchrony());
  work.before = [](std::int64_t) { throw MeasurementError("the scripted failure"); };
  CHECK_THROWS(MeasurementError, loop.probe_asynchrony());
  CHECK(loop.asynchrony() == gpu::Asynchrony::kUnknown);
  CHECK_EQUAL(gpu.driver.pending(work.handle()), 0);
  work.before = nullptr;
  Table table(1, 2);
  loop.cold(table.all(), table.done);
  CHECK(loop.asynchrony() == gpu::Asynchrony::kProved);
  CHECK(loop.is_gated());
}

TEST(gpu_asynchrony, another_thread_can_ask_what_was_found_so_far) {
  FakeGpu gpu;
  ScriptedWork work(gpu, always(0));
  ScriptedLoop loop({&work}, plan_with());
  std::atomic<bool> over{false};
  std::thread asking([&] {
    while (!over) {
      const auto evidence = loop.asynchrony_evidence();
      CHECK(evidence == "not looked at" || has(evidence, "submit returned"));
      CHECK(loop.gate_reason() == "no cold sample was taken" || loop.gate_reason().empty());
    }
  });
  Table table(200, 2);
  for (int batch = 0; batch < 20; ++batch) {
    loop.probe_asynchrony();
    loop.cold(table.all(), table.done);
  }
  over = true;
  asking.join();
}

}  // namespace pyperf::test
