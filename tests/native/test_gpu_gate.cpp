// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <thread>

#include "fake_gpu.hpp"
#include "gpu/gate.hpp"
#include "thread_limit.hpp"

namespace pyperf::test {
namespace {

using std::chrono::steady_clock;
constexpr std::int64_t kShortNs = 20'000'000;

struct Gated {
  explicit Gated(FakeGpu& gpu, std::int64_t timeout_ns = kLongNs)
      : driver(gpu.driver), current(*gpu.context), stream(gpu.context), gate(gpu.context, timeout_ns) {}

  CUstream handle() const { return stream.view().handle(); }

  // Whether the stream has run what was queued by now.
  bool has_run() {
    driver.advance(1'000);
    return driver.pending(handle()) == 0;
  }

  // Waits in real time for another thread to let the stream go.
  bool runs_before_long() {
    const auto until = steady_clock::now() + std::chrono::seconds(60);
    while (!has_run()) {
      if (steady_clock::now() > until) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  FakeDriver& driver;
  gpu::Context::Current current;
  gpu::OwnedStream stream;
  gpu::Gate gate;
};

}  // namespace

TEST(gpu_gate, holds_the_stream_until_it_is_opened) {
  FakeGpu gpu;
  Gated gated(gpu);
  for (int round = 0; round < 3; ++round) {
    gated.gate.close(gated.handle());
    gpu.driver.enqueue(gated.handle(), 10);
    gpu.driver.advance(1'000'000'000);
    CHECK_EQUAL(gpu.driver.pending(gated.handle()), 2);
    CHECK(gated.gate.open());
    CHECK(gated.has_run());
  }
}

TEST(gpu_gate, one_that_is_open_does_not_open_again) {
  FakeGpu gpu;
  Gated gated(gpu);
  CHECK(!gated.gate.open());
  gated.gate.close(gated.handle());
  CHECK(gated.gate.open());
  CHECK(!gated.gate.open());
}

TEST(gpu_gate, the_watchdog_opens_it_at_the_timeout_without_a_call_of_the_driver) {
  FakeGpu gpu;
  Gated gated(gpu, kShortNs);
  for (int round = 0; round < 2; ++round) {
    const auto begin = steady_clock::now();
    gated.gate.close(gated.handle());
    gpu.driver.enqueue(gated.handle(), 10);
    gpu.driver.log(true);
    CHECK(gated.runs_before_long());
    CHECK(steady_clock::now() - begin >= std::chrono::nanoseconds(kShortNs));
    CHECK_EQUAL(calls_of(gpu.driver), "");
    CHECK(!gated.gate.open());  // which says that the sample is worth nothing
  }
}

TEST(gpu_gate, a_gate_that_was_opened_in_time_stays_out_of_the_watchdogs_hands) {
  FakeGpu gpu;
  Gated gated(gpu, kLongNs);
  for (int round = 0; round < 2'000; ++round) {
    gated.gate.close(gated.handle());
    CHECK(gated.gate.open());
  }
  CHECK(gated.has_run());
}

TEST(gpu_gate, opening_and_the_watchdog_race_and_one_of_them_wins) {
  FakeGpu gpu;
  Gated gated(gpu, 200'000);
  int in_time = 0;
  for (int round = 0; round < 300; ++round) {
    gated.gate.close(gated.handle());
    gpu.driver.enqueue(gated.handle(), 10);
    std::this_thread::sleep_for(std::chrono::microseconds(150 + round));
    in_time += gated.gate.open() ? 1 : 0;
    CHECK(gated.runs_before_long());
  }
  CHECK(in_time < 300);  // the sleeps are longer than the timeout at the end
}

TEST(gpu_gate, it_opens_when_it_goes) {
  FakeGpu gpu;
  const gpu::OwnedStream stream(gpu.context);
  const auto begin = steady_clock::now();
  {
    const gpu::Context::Current current(*gpu.context);
    gpu::Gate gate(gpu.context, kLongNs);
    gate.close(stream.view().handle());
    gpu.driver.enqueue(stream.view().handle(), 10);
  }
  CHECK_EQUAL(gpu.driver.pending(stream.view().handle()), 0);  // to free its word waits for what uses it
  CHECK_EQUAL(gpu.driver.live("host_bytes"), 0);
  CHECK(steady_clock::now() - begin < std::chrono::seconds(30));
}

TEST(gpu_gate, held_back_opens_when_something_throws) {
  FakeGpu gpu;
  Gated gated(gpu);
  try {
    const gpu::HeldBack held(gated.gate, gated.handle());
    gpu.driver.enqueue(gated.handle(), 10);
    CHECK(!gated.has_run());
    throw MeasurementError("the scripted failure");
  } catch (const MeasurementError&) {
  }
  CHECK(gated.has_run());
}

TEST(gpu_gate, held_back_says_whether_it_was_released_in_time) {
  FakeGpu gpu;
  {
    Gated gated(gpu);
    gpu::HeldBack held(gated.gate, gated.handle());
    CHECK(held.release());
  }
  {
    Gated gated(gpu, kShortNs);
    gpu::HeldBack held(gated.gate, gated.handle());
    CHECK(gated.runs_before_long());
    CHECK(!held.release());
  }
}

TEST(gpu_gate, a_wait_that_cannot_be_queued_leaves_it_open) {
  FakeGpu gpu;
  Gated gated(gpu);
  gpu.driver.fail("cuStreamWaitValue32", 1, CUDA_ERROR_INVALID_VALUE);
  CHECK_HAS(message_of<MeasurementError>([&] { gated.gate.close(gated.handle()); }), "cuStreamWaitValue32");
  CHECK(!gated.gate.open());
  gated.gate.close(gated.handle());
  CHECK(gated.gate.open());
  CHECK(gated.has_run());
}

TEST(gpu_gate, it_tells_a_device_that_cannot_wait_from_one_that_fails) {
  FakeGpu gpu;
  Gated gated(gpu);
  CHECK(gated.gate.works_on(gated.handle()));
  CHECK(gated.has_run());
  gpu.driver.device_attribute(0, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 0);
  CHECK(!gated.gate.works_on(gated.handle()));
  gpu.driver.fail("cuStreamWaitValue32", 1, CUDA_ERROR_LAUNCH_FAILED);
  CHECK_THROWS(MeasurementError, gated.gate.works_on(gated.handle()));
}

TEST(gpu_gate, what_cannot_be_made_leaves_nothing_behind) {
  for (const char* function : {"cuMemHostAlloc", "cuMemHostGetDevicePointer"}) {
    FakeGpu gpu;
    gpu.driver.fail(function, 1, CUDA_ERROR_OUT_OF_MEMORY);
    CHECK_HAS(message_of<OutOfMemoryError>([&] { gpu::Gate(gpu.context, kLongNs); }), function);
    check_all_freed(gpu.driver);
  }
  FakeGpu gpu;
  const ThreadLimit limit(0);
  CHECK_HAS(message_of<MeasurementError>([&] { gpu::Gate(gpu.context, kLongNs); }), "starts no further thread");
  check_all_freed(gpu.driver);
}

}  // namespace pyperf::test
