// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <set>
#include <sstream>

#include "fake_gpu.hpp"

namespace pyperf::test {
namespace {

constexpr std::int64_t kMostTried = 25;  // of the calls of one function

// What is done without: a value that is not told is 0, and what fails in a destructor is lost with it.
const std::set<std::string> kNotNeeded{"cuDeviceGetUuid", "cuDeviceGetPCIBusId", "cuDeviceGetAttribute",
                                       "cuCtxPopCurrent", "cuEventDestroy",      "cuStreamDestroy",
                                       "cuMemFree",       "cuMemFreeHost",       "cuDevicePrimaryCtxRelease"};

// Everything that the loop does, from nothing to nothing.
void do_everything(FakeDriver& driver, gpu::Wait wait) {
  const auto& cuda = gpu::Driver::load(fake_cuda_path());
  const auto context = std::make_shared<gpu::Context>(cuda, 0);
  const gpu::DeviceBuffer on_device(context, 4'096);
  const gpu::PinnedBuffer on_host(context, 4'096);
  const gpu::OwnedStream one(context);
  const gpu::OwnedStream other(context);
  const gpu::Transfers transfers({{on_device.address(), on_host.data(), 4'096}},
                                 {{on_device.address(), on_host.data(), 4'096}});
  gpu::GraphWork first(driver.graph_create(1'000), one.view(), transfers);
  gpu::GraphWork second(driver.graph_create(1'500), other.view(), transfers);
  auto plan = plan_with(wait);
  plan.in_flight = 3;
  plan.include_transfers = true;
  gpu::StreamLoop<gpu::GraphWork, FakeDriverClock> loop({&first, &second}, plan);
  Table table(6, 5);
  loop.latency(table.all(), table.done);
  loop.throughput(table.all(), table.done);
  loop.cold(table.all(), table.done);
  CHECK_EQUAL(table.done, 6);
  CHECK(context->free_memory_bytes() > 0);
  gpu::finish(one.view(), kLongNs);
}

// How often a clean run calls each function of the driver.
std::map<std::string, std::int64_t> calls_of_a_clean_run(gpu::Wait wait) {
  FakeDriver driver;
  driver.log(true);
  do_everything(driver, wait);
  std::map<std::string, std::int64_t> calls;
  std::istringstream log(driver.text_of_log());
  for (std::string name; std::getline(log, name);) ++calls[name];
  return calls;
}

// Runs everything with one fault in it; the message of the error, if any.
std::string run_with_fault(FakeDriver& driver, gpu::Wait wait) {
  try {
    do_everything(driver, wait);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(gpu_faults, a_clean_run_frees_everything) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    FakeDriver driver;
    do_everything(driver, wait);
    check_all_freed(driver);
    CHECK_EQUAL(driver.live("contexts"), 0);
  }
}

TEST(gpu_faults, out_of_memory_at_any_call_is_a_typed_error_that_names_it_and_leaks_nothing) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    const auto calls = calls_of_a_clean_run(wait);
    CHECK(calls.size() > 25);
    for (const auto& [function, count] : calls) {
      for (std::int64_t nth = 1; nth <= std::min(count, kMostTried); ++nth) {
        FakeDriver driver;
        driver.fail(function.c_str(), static_cast<int>(nth), CUDA_ERROR_OUT_OF_MEMORY);
        const auto message = run_with_fault(driver, wait);
        if (!kNotNeeded.contains(function)) {
          CHECK_HAS(message, function + " failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
        } else if (!has(message, "does not tell the size of the L2 cache")) {
          CHECK_EQUAL(message, "");
        }
        check_all_freed(driver);
        CHECK_EQUAL(driver.live("contexts"), 0);
      }
    }
  }
}

TEST(gpu_faults, an_error_that_sticks_at_any_call_ends_the_run_and_nothing_is_freed_after_it) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    for (const auto& [function, count] : calls_of_a_clean_run(wait)) {
      if (kNotNeeded.contains(function)) continue;
      for (std::int64_t nth = 1; nth <= std::min(count, kMostTried); ++nth) {
        FakeDriver driver;
        driver.fail_from(function.c_str(), static_cast<int>(nth), CUDA_ERROR_ILLEGAL_ADDRESS);
        const auto message = run_with_fault(driver, wait);
        CHECK_HAS(message, " failed: CUDA_ERROR_ILLEGAL_ADDRESS (");
        // A waiter enters the context by itself, and meanwhile another call may be the first to tell.
        if (wait == gpu::Wait::kSpin || function != "cuCtxPushCurrent") CHECK_HAS(message, function);
      }
    }
  }
}

TEST(gpu_faults, a_lost_device_keeps_the_samples_before_it_and_later_calls_fail_cleanly) {
  for (const auto wait : {gpu::Wait::kSpin, gpu::Wait::kBlock}) {
    for (const auto mode : {Mode::kLatency, Mode::kThroughput, Mode::kCold}) {
      FakeGpu gpu;
      {
        ScriptedWork work(gpu, always(1'000));
        auto plan = plan_with(wait);
        plan.in_flight = 2;
        ScriptedLoop loop({&work}, plan);
        loop.probe_asynchrony();
        work.before = [&, first = work.calls](std::int64_t call) {
          if (call == first + 6) gpu.driver.device_lost();
        };
        Table table(10, 3);
        const auto run = [&] {
          mode == Mode::kLatency ? loop.latency(table.all(), table.done)
          : mode == Mode::kCold  ? loop.cold(table.all(), table.done)
                                 : loop.throughput(table.all(), table.done);
        };
        CHECK_HAS(message_of<MeasurementError>(run), "CUDA_ERROR_DEVICE_UNAVAILABLE");
        const std::int64_t kept = mode == Mode::kThroughput ? 4 : 6;  // one was in flight, and one leads in
        CHECK_EQUAL(table.done, kept);
        for (std::int64_t row = 0; row < kept; ++row) CHECK_EQUAL(table.values[static_cast<std::size_t>(row)], 1'000);
        CHECK(gpu.context->is_lost());
        CHECK_HAS(message_of<MeasurementError>(run), "was lost");
        CHECK_EQUAL(table.done, 0);
        CHECK_THROWS(MeasurementError, loop.measure_overhead());
        CHECK_THROWS(MeasurementError, gpu::OwnedStream(gpu.context));
        CHECK_THROWS(MeasurementError, gpu::DeviceBuffer(gpu.context, 1));
        gpu.context = nullptr;
      }
      CHECK_EQUAL(gpu.driver.calls("cuEventDestroy"), 0);
    }
  }
}

TEST(gpu_faults, a_graph_that_was_destroyed_is_an_error_and_no_loss) {
  FakeGpu gpu;
  const gpu::OwnedStream stream(gpu.context);
  const CUgraphExec graph = gpu.driver.graph_create(1'000);
  gpu.driver.graph_destroy(graph);
  gpu::GraphWork work(graph, stream.view(), {});
  gpu::StreamLoop<gpu::GraphWork, FakeDriverClock> loop({&work}, plan_with());
  Table table(1, 3);
  CHECK_HAS(message_of<MeasurementError>([&] { loop.latency(table.all(), table.done); }),
            "cuGraphLaunch failed: CUDA_ERROR_INVALID_HANDLE");
  CHECK(!gpu.context->is_lost());
}

}  // namespace pyperf::test
