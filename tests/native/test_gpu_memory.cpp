// SPDX-License-Identifier: Apache-2.0
#include "fake_gpu.hpp"
#include "gpu/l2_flush.hpp"
#include "gpu/memory.hpp"
#include "gpu/transfers.hpp"

namespace pyperf::test {
namespace {

constexpr std::size_t kBytes = 4'096;

}  // namespace

TEST(gpu_memory, what_lies_there_is_copied_to_the_host) {
  FakeGpu gpu;
  const gpu::Context::Current current(*gpu.context);
  const gpu::DeviceBuffer buffer(gpu.context, kBytes);
  std::vector<unsigned char> there(kBytes);
  std::vector<unsigned char> back(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i) there[i] = static_cast<unsigned char>(i * 7);
  const gpu::OwnedStream stream(gpu.context);
  PYPERF_CUDA(*gpu.context, cuMemcpyHtoDAsync(buffer.address(), there.data(), kBytes, stream.view().handle()));
  gpu::finish(stream.view(), kLongNs);
  gpu::copy_to_host(*gpu.context, back.data(), buffer.address(), kBytes);
  CHECK(back == there);
}

TEST(gpu_memory, a_buffer_of_nothing_takes_no_memory) {
  FakeGpu gpu;
  const gpu::DeviceBuffer buffer(gpu.context, 0);
  const gpu::PinnedBuffer pinned(gpu.context, 0);
  gpu::copy_to_host(*gpu.context, nullptr, 0, 0);
  CHECK_EQUAL(gpu.driver.calls("cuMemAlloc") + gpu.driver.calls("cuMemHostAlloc"), 0);
  CHECK_EQUAL(gpu.driver.calls("cuMemcpyDtoH"), 0);
}

TEST(gpu_memory, buffers_free_themselves) {
  FakeGpu gpu;
  {
    const gpu::DeviceBuffer buffer(gpu.context, kBytes);
    const gpu::PinnedBuffer pinned(gpu.context, kBytes);
    CHECK(pinned.device_address() != 0);
    CHECK_EQUAL(gpu.driver.live("device_bytes"), static_cast<long long>(kBytes));
    CHECK_EQUAL(gpu.driver.live("host_bytes"), static_cast<long long>(kBytes));
  }
  check_all_freed(gpu.driver);
}

TEST(gpu_memory, out_of_memory_says_what_was_asked_for_and_what_is_free) {
  FakeGpu gpu;
  gpu.driver.memory_limit(10 * kBytes);
  const gpu::DeviceBuffer first(gpu.context, 3 * kBytes);
  const auto message = message_of<OutOfMemoryError>([&] { gpu::DeviceBuffer(gpu.context, 8 * kBytes); });
  CHECK_HAS(message, "cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
  CHECK_HAS(message, "32768 bytes were asked for, and 28672 are free on Fake GPU 0");
  CHECK(!gpu.context->is_lost());
}

TEST(gpu_memory, no_page_locked_memory_is_not_laid_at_the_gpus_door) {
  FakeGpu gpu;
  gpu.driver.fail("cuMemHostAlloc", 1, CUDA_ERROR_OUT_OF_MEMORY);
  const auto message = message_of<OutOfMemoryError>([&] { gpu::PinnedBuffer(gpu.context, kBytes); });
  CHECK_HAS(message, "4096 bytes of page-locked memory");
  CHECK_HAS(message, "cuMemHostAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
  CHECK(!has(message, "the GPU is out of memory"));
}

TEST(gpu_memory, the_flush_is_twice_the_l2_cache_with_other_words_each_time) {
  FakeGpu gpu;
  const gpu::Context::Current current(*gpu.context);
  gpu.driver.device_attribute(0, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, kBytes);
  const auto small = std::make_shared<gpu::Context>(gpu.cuda, 0);
  const gpu::OwnedStream stream(small);
  gpu::L2Flush flush(small);
  CHECK_EQUAL(flush.bytes(), 2 * kBytes);
  // The fake gives memory in order, so that what comes next lies behind the flush's, a gap between.
  const gpu::DeviceBuffer next(small, kBytes);
  const CUdeviceptr address = next.address() - (2 * kBytes / 512 + 2) * 512;
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  for (std::uint32_t round = 1; round <= 3; ++round) {
    flush.queue(stream.view().handle());
    gpu::finish(stream.view(), kLongNs);
    gpu::copy_to_host(*small, &first, address, sizeof first);
    gpu::copy_to_host(*small, &last, address + 2 * kBytes - sizeof last, sizeof last);
    CHECK_EQUAL(first, round);
    CHECK_EQUAL(last, round);
  }
}

TEST(gpu_memory, transfers_copy_inputs_in_and_outputs_out_on_their_stream) {
  FakeGpu gpu;
  const gpu::Context::Current current(*gpu.context);
  const gpu::OwnedStream stream(gpu.context);
  const gpu::DeviceBuffer input(gpu.context, kBytes);
  const gpu::DeviceBuffer output(gpu.context, kBytes);
  const gpu::PinnedBuffer from(gpu.context, kBytes);
  const gpu::PinnedBuffer to(gpu.context, kBytes);
  const CUgraphExec graph = gpu.driver.graph_create(1'000);
  gpu.driver.graph_copy(graph, output.address(), input.address(), kBytes);
  gpu::GraphWork work(
      graph, stream.view(),
      gpu::Transfers({{input.address(), from.data(), kBytes}}, {{output.address(), to.data(), kBytes}}));
  auto* source = static_cast<unsigned char*>(from.data());
  const auto* target = static_cast<const unsigned char*>(to.data());
  auto plan = plan_with();
  plan.include_transfers = true;
  gpu::StreamLoop<gpu::GraphWork, FakeDriverClock> loop({&work}, plan);
  for (const unsigned char value : {17, 23}) {
    std::fill_n(source, kBytes, value);
    Table table(1, 5);
    loop.latency(table.all(), table.done);
    CHECK_EQUAL(static_cast<int>(target[0]), static_cast<int>(value));
    CHECK_EQUAL(static_cast<int>(target[kBytes - 1]), static_cast<int>(value));
    CHECK_COLUMN(table.column(2), {1'000});
    CHECK_COLUMN(table.column(3), {82});  // 4,096 bytes at 50 GB/s
    CHECK_COLUMN(table.column(4), {82});
  }
}

}  // namespace pyperf::test
