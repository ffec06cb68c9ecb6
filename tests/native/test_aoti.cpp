// SPDX-License-Identifier: Apache-2.0
#include "aoti/host_call.hpp"
#include "aoti/stream_call.hpp"
#include "fake_aoti.hpp"
#include "fake_gpu.hpp"

// What lies inside of a window and what does not; whatever else there is to compiled models, tests/unit shows.
namespace pyperf::test {
namespace {

// Steady, and seen in the log.
struct NotedClock {
  static std::int64_t now_ns() noexcept {
    static const auto note = reinterpret_cast<decltype(&::fake_aoti_note)>(fake_aoti_symbol("fake_aoti_note"));
    note("clock");
    return FakeDriverClock::now_ns();
  }
};

std::vector<float> values{1, 2, 3, 4, 5, 6};

aoti::Blob blob_at(void* data, std::optional<int> device_index = std::nullopt) {
  return {data, {2, 3}, {3, 1}, "float32", device_index, nullptr};
}

struct NotedFlush final : Flush {
  explicit NotedFlush(const FakeAoti& fake) : fake(fake) {}
  void flush() override { fake.note("flush"); }
  const FakeAoti& fake;
};

}  // namespace

TEST(aoti, a_window_on_the_cpu_holds_the_run_alone) {
  const FakeAoti fake;
  aoti::HostCall call(fake.model("cpu"));
  call.bind({blob_at(values.data())});
  LoopOver<aoti::HostCall, NotedClock> loop(call);
  std::vector<std::int64_t> samples(2);
  std::int64_t done = 0;
  fake.log(true);
  loop.latency(samples, done);
  CHECK_EQUAL(fake.text_of_log(),
              "new_tensor_handle "
              "clock Run clock delete_tensor_object new_tensor_handle "
              "clock Run clock delete_tensor_object new_tensor_handle ");
  fake.log(true);
  NotedFlush flush(fake);
  loop.flush_with(&flush);
  loop.cold(samples, done);
  CHECK_EQUAL(fake.text_of_log(),
              "flush clock Run clock delete_tensor_object new_tensor_handle "
              "flush clock Run clock delete_tensor_object new_tensor_handle ");
}

TEST(aoti, a_period_on_the_cpu_holds_what_comes_with_serving_one_after_another) {
  const FakeAoti fake;
  aoti::HostCall call(fake.model("cpu"));
  call.bind({blob_at(values.data())});
  call.settle();
  LoopOver<aoti::HostCall, NotedClock> loop(call);
  std::vector<std::int64_t> samples(2);
  std::int64_t done = 0;
  fake.log(true);
  loop.throughput(samples, done);
  CHECK_EQUAL(fake.text_of_log(),
              "clock Run delete_tensor_object new_tensor_handle clock "
              "Run delete_tensor_object new_tensor_handle clock ");
}

TEST(aoti, a_window_on_a_gpu_holds_the_run_alone) {
  FakeGpu gpu;
  const FakeAoti fake;
  const auto stream = std::make_shared<gpu::OwnedStream>(gpu.context);
  const gpu::DeviceBuffer memory(gpu.context, values.size() * sizeof(float));
  {
    aoti::StreamCall call(fake.model("cuda:0"), {stream, &stream->view()}, {});
    call.bind({blob_at(reinterpret_cast<void*>(memory.address()), 0)});
    call.run_once();
    gpu::StreamLoop<aoti::StreamCall, NotedClock> loop({&call}, plan_with());
    Table table(1, 3);
    fake.log(true);
    loop.latency(table.all(), table.done);
    const std::string text = fake.text_of_log();
    CHECK(text.starts_with("clock RunSingleThreaded clock clock "));
    CHECK(text.ends_with("clock delete_tensor_object new_tensor_handle "));
    CHECK_COLUMN(table.column(2), {100'000});
  }
  const gpu::Context::Current current(*gpu.context);
  fake.empty_cache();
}

TEST(aoti, outputs_are_freed_and_handles_made_while_calls_are_on_the_stream) {
  FakeGpu gpu;
  const FakeAoti fake;
  const auto stream = std::make_shared<gpu::OwnedStream>(gpu.context);
  const gpu::DeviceBuffer memory(gpu.context, values.size() * sizeof(float));
  {
    aoti::StreamCall call(fake.model("cuda:0"), {stream, &stream->view()}, {});
    call.bind({blob_at(reinterpret_cast<void*>(memory.address()), 0)});
    call.run_once();
    gpu::StreamLoop<aoti::StreamCall, NotedClock> loop({&call}, plan_with());
    Table table(2, 1);
    fake.log(true);
    gpu.driver.log(true);
    loop.throughput(table.all(), table.done);
    const std::string calls = calls_of(gpu.driver);
    CHECK(calls.rfind("cuGraphLaunch") < calls.find("cuEventQuery"));  // nothing is waited for in between
    const std::string once = "RunSingleThreaded delete_tensor_object new_tensor_handle ";
    CHECK(fake.text_of_log().starts_with(once + once + once + "clock "));
    CHECK_COLUMN(table.column(0), {100'000, 100'000});
  }
  const gpu::Context::Current current(*gpu.context);
  fake.empty_cache();
}

TEST(aoti, a_batch_that_ends_by_an_exception_leaves_the_gradient_mode_and_whole_handles) {
  const FakeAoti fake;
  aoti::HostCall call(fake.model("cpu"));
  call.bind({blob_at(values.data())});
  LoopOver<aoti::HostCall, NotedClock> loop(call);
  std::vector<std::int64_t> samples(5);
  std::int64_t done = 0;
  CHECK(call.torch().grad_mode_is_enabled());
  fake.fail("AOTInductorModelContainerRun", 3);
  CHECK_THROWS(MeasurementError, loop.latency(samples, done));
  CHECK_EQUAL(done, 2);
  CHECK(call.torch().grad_mode_is_enabled());
  loop.latency(samples, done);
  CHECK_EQUAL(done, 5);
  CHECK_EQUAL(fake.count("misused"), 0);
}

TEST(aoti, what_goes_deletes_its_handles_and_its_container) {
  const FakeAoti fake;
  const auto before = fake.count("handles");
  {
    aoti::HostCall call(fake.model("cpu"));
    call.bind({blob_at(values.data())});
    call.run_once();
    const auto outputs = call.outputs();
    CHECK(std::memcmp(outputs.at(0).bytes.data(), values.data(), outputs[0].bytes.size()) == 0);
    CHECK(fake.count("handles") > before);
  }
  CHECK_EQUAL(fake.count("handles"), before);
  CHECK_EQUAL(fake.count("containers"), 0);
}

}  // namespace pyperf::test
