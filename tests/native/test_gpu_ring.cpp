// SPDX-License-Identifier: Apache-2.0
#include "fake_gpu.hpp"
#include "gpu/event_ring.hpp"

namespace pyperf::test {
namespace {

struct Ring {
  explicit Ring(FakeGpu& gpu, std::int64_t size)
      : driver(gpu.driver),
        current(*gpu.context),
        stream(gpu.context),
        origin(gpu.context),
        ring(gpu.context, size, 0) {
    origin.record(handle());
    ring.restart(origin);
  }

  CUstream handle() const { return stream.view().handle(); }
  void add(std::int64_t ns) {
    driver.enqueue(handle(), ns);
    ring.record(handle());
  }

  FakeDriver& driver;
  gpu::Context::Current current;
  gpu::OwnedStream stream;
  gpu::Event origin;
  gpu::EventRing ring;
};

}  // namespace

TEST(gpu_ring, times_count_from_the_origin) {
  FakeGpu gpu;
  Ring made(gpu, 4);
  for (const std::int64_t ns : {300, 20, 1}) made.add(ns);
  gpu.driver.advance(1'000);
  CHECK_EQUAL(made.ring.last_ns(), 0);
  CHECK_EQUAL(made.ring.retire(), 300);
  CHECK_EQUAL(made.ring.retire(), 320);
  CHECK_EQUAL(made.ring.last_ns(), 320);
  CHECK_EQUAL(made.ring.retire(), 321);
}

TEST(gpu_ring, it_is_full_while_the_next_record_would_overwrite_what_is_still_read) {
  FakeGpu gpu;
  Ring made(gpu, 4);
  CHECK(made.ring.is_empty());
  for (int outstanding = 0; outstanding < 3; ++outstanding) {
    CHECK(!made.ring.is_full());
    made.add(10);
    CHECK(!made.ring.is_empty());
  }
  CHECK(made.ring.is_full());
  gpu.driver.advance(1'000);
  for (int call = 0; call < 20; ++call) {  // round and round, always as full as can be
    CHECK_EQUAL(made.ring.retire() % 10, 0);
    CHECK(!made.ring.is_full());
    made.add(10);
    gpu.driver.advance(10);
    CHECK(made.ring.is_full());
  }
}

TEST(gpu_ring, long_spans_keep_their_nanoseconds_where_the_drivers_float_loses_them) {
  FakeGpu gpu;
  Ring made(gpu, 3);
  constexpr std::int64_t kStepNs = 7'000'001;
  constexpr std::int64_t kSteps = 10'000;  // 70 s, where the float's last bit is 4 us
  std::int64_t total_ns = 0;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    made.add(kStepNs);
    gpu.driver.advance(kStepNs);
    total_ns = made.ring.retire();
  }
  CHECK_EQUAL(total_ns, kSteps * kStepNs);
}

TEST(gpu_ring, restarting_forgets_what_is_outstanding) {
  FakeGpu gpu;
  Ring made(gpu, 3);
  made.add(1'000);
  made.add(1'000);
  gpu.driver.advance(5'000);
  made.ring.retire();
  made.origin.record(made.handle());
  made.ring.restart(made.origin);
  CHECK(made.ring.is_empty());
  CHECK(!made.ring.is_full());
  made.add(70);
  gpu.driver.advance(70);
  CHECK_EQUAL(made.ring.retire(), 70);
}

TEST(gpu_ring, its_events_are_made_once_and_freed_with_it) {
  FakeGpu gpu;
  {
    Ring made(gpu, 17);
    CHECK_EQUAL(gpu.driver.live("events"), 18);
    for (int call = 0; call < 100; ++call) {
      made.add(1);
      gpu.driver.advance(1);
      made.ring.retire();
    }
    CHECK_EQUAL(gpu.driver.live("events"), 18);
  }
  check_all_freed(gpu.driver);
}

TEST(gpu_ring, an_event_that_is_not_done_cannot_be_retired) {
  FakeGpu gpu;
  Ring made(gpu, 3);
  made.add(1'000);
  CHECK_HAS(message_of<MeasurementError>([&] { made.ring.retire(); }), "CUDA_ERROR_NOT_READY");
}

}  // namespace pyperf::test
