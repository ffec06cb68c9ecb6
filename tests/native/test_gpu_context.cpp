// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "fake_gpu.hpp"

namespace pyperf::test {

TEST(gpu_context, facts_are_the_drivers) {
  FakeGpu gpu(1);
  const auto& facts = gpu.context->facts();
  CHECK_EQUAL(facts.ordinal, 1);
  CHECK_EQUAL(facts.name, "Fake GPU 1");
  CHECK_EQUAL(facts.uuid, "GPU-f1f1f1f1-f1f1-f1f1-f1f1-f1f1f1f1f1f1");
  CHECK_EQUAL(facts.pci_bus_id, "0000:02:00.0");
  CHECK_EQUAL(facts.compute_major, 9);
  CHECK_EQUAL(facts.compute_minor, 0);
  CHECK_EQUAL(facts.multiprocessors, 132);
  CHECK_EQUAL(facts.memory_bytes, std::int64_t{80} << 30);
  CHECK_EQUAL(facts.l2_bytes, 50 << 20);
  CHECK_EQUAL(facts.sm_clock_khz, 1'980'000);
  CHECK_EQUAL(facts.memory_bandwidth_bytes_per_s(), 2.0 * 2'619'000e3 * 5'120 / 8);  // 3.35 TB/s
  CHECK_EQUAL(gpu.context->attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
}

TEST(gpu_context, what_a_driver_does_not_tell_is_zero_or_empty) {
  FakeDriver driver;
  const auto& cuda = gpu::Driver::load(fake_cuda_path());
  driver.fail("cuDeviceGetUuid", 1, CUDA_ERROR_INVALID_DEVICE);
  driver.fail("cuDeviceGetPCIBusId", 1, CUDA_ERROR_NOT_SUPPORTED);
  driver.fail("cuDeviceGetAttribute", 1, CUDA_ERROR_INVALID_VALUE);
  const auto facts = gpu::describe_device(cuda, 0);
  CHECK_EQUAL(facts.uuid, "");
  CHECK_EQUAL(facts.pci_bus_id, "");
  CHECK_EQUAL(facts.compute_major, 0);
  CHECK_EQUAL(facts.compute_minor, 0);
  CHECK_EQUAL(facts.multiprocessors, 132);
}

TEST(gpu_context, gpus_are_chosen_by_index_and_each_has_its_own) {
  FakeDriver driver;
  const auto& cuda = gpu::Driver::load(fake_cuda_path());
  driver.device_count(3);
  CHECK_EQUAL(gpu::device_count(cuda), 3);
  std::vector<std::shared_ptr<gpu::Context>> contexts;
  for (int ordinal = 0; ordinal < 3; ++ordinal) {
    driver.device_name(ordinal, ("Card " + std::to_string(ordinal)).c_str());
    contexts.push_back(gpu::Context::open(cuda, ordinal));
    CHECK_EQUAL(contexts.back()->facts().name, "Card " + std::to_string(ordinal));
  }
  CHECK(contexts[0]->handle() != contexts[1]->handle());
  CHECK(contexts[1]->handle() != contexts[2]->handle());
  const gpu::OwnedStream stream(contexts[2]);
  CUcontext owning = nullptr;
  const gpu::Context::Current current(*contexts[2]);
  cuda.check(cuda.cuStreamGetCtx(stream.view().handle(), &owning), "cuStreamGetCtx");
  CHECK_EQUAL(owning, contexts[2]->handle());
}

TEST(gpu_context, an_index_out_of_range_says_which_there_are) {
  FakeDriver driver;
  const auto& cuda = gpu::Driver::load(fake_cuda_path());
  for (const int ordinal : {-1, 2, 1'000'000}) {
    const auto message = message_of<BackendError>([&] { gpu::Context::open(cuda, ordinal); });
    CHECK_HAS(message, "no GPU " + std::to_string(ordinal) + ";");
    CHECK_HAS(message, "2, numbers 0 to 1");
    CHECK_HAS(message, "CUDA_VISIBLE_DEVICES");
  }
  driver.device_count(1);
  CHECK_HAS(message_of<BackendError>([&] { gpu::describe_device(cuda, 1); }), "one, number 0");
  driver.device_count(0);
  CHECK_HAS(message_of<BackendError>([&] { gpu::describe_device(cuda, 0); }), "sees none");
}

TEST(gpu_context, opening_shares_one_object_for_as_long_as_anybody_holds_it) {
  FakeDriver driver;
  const auto& cuda = gpu::Driver::load(fake_cuda_path());
  auto first = gpu::Context::open(cuda, 0);
  CHECK_EQUAL(gpu::Context::open(cuda, 0), first);
  CHECK(gpu::Context::open(cuda, 1) != first);
  CHECK_EQUAL(driver.live("contexts"), 1);
  first = nullptr;
  CHECK_EQUAL(driver.live("contexts"), 0);
  first = gpu::Context::open(cuda, 0);
  CHECK_EQUAL(driver.live("contexts"), 1);
}

TEST(gpu_context, threads_that_open_at_once_get_the_same) {
  FakeDriver driver;
  const auto& cuda = gpu::Driver::load(fake_cuda_path());
  for (int round = 0; round < 20; ++round) {
    std::vector<std::shared_ptr<gpu::Context>> opened(4);
    std::vector<std::thread> threads;
    for (auto& mine : opened) threads.emplace_back([&] { mine = gpu::Context::open(cuda, 0); });
    for (auto& thread : threads) thread.join();
    for (const auto& mine : opened) CHECK_EQUAL(mine, opened[0]);
    CHECK_EQUAL(driver.live("contexts"), 1);
  }
}

TEST(gpu_context, what_lives_in_it_keeps_it) {
  FakeGpu gpu;
  auto stream = std::make_unique<gpu::OwnedStream>(gpu.context);
  gpu.context = nullptr;
  CHECK_EQUAL(gpu.driver.live("contexts"), 1);
  CHECK_EQUAL(gpu.driver.live("streams"), 1);
  stream = nullptr;
  CHECK_EQUAL(gpu.driver.live("contexts"), 0);
  check_all_freed(gpu.driver);
}

TEST(gpu_context, memory_is_what_the_driver_counts) {
  FakeGpu gpu;
  const std::int64_t all = std::int64_t{80} << 30;
  CHECK_EQUAL(gpu.context->free_memory_bytes(), all);
  CHECK_EQUAL(gpu.context->used_memory_bytes(), 0);
  const gpu::DeviceBuffer buffer(gpu.context, 1 << 20);
  CHECK_EQUAL(gpu.context->free_memory_bytes(), all - (1 << 20));
  CHECK_EQUAL(gpu.context->used_memory_bytes(), 1 << 20);
}

TEST(gpu_context, it_is_current_on_the_thread_that_asked_and_as_long_as_that) {
  FakeGpu gpu;
  const gpu::OwnedStream stream(gpu.context);
  const auto synchronize = [&] { return gpu.cuda.cuStreamSynchronize(stream.view().handle()); };
  CHECK_EQUAL(synchronize(), CUDA_ERROR_INVALID_CONTEXT);
  {
    const gpu::Context::Current current(*gpu.context);
    CHECK_EQUAL(synchronize(), CUDA_SUCCESS);
    std::thread([&] { CHECK_EQUAL(synchronize(), CUDA_ERROR_INVALID_CONTEXT); }).join();
  }
  CHECK_EQUAL(synchronize(), CUDA_ERROR_INVALID_CONTEXT);
  gpu::finish(stream.view(), kLongNs);
}

TEST(gpu_context, a_failed_call_is_named_with_the_name_and_the_text_of_its_code) {
  FakeGpu gpu;
  gpu.driver.fail("cuStreamCreate", 1, CUDA_ERROR_INVALID_VALUE);
  CHECK_EQUAL(message_of<MeasurementError>([&] { gpu::OwnedStream(gpu.context); }),
              "cuStreamCreate failed: CUDA_ERROR_INVALID_VALUE (invalid argument)");
  CHECK(!gpu.context->is_lost());
  gpu::OwnedStream(gpu.context);  // and it works again
}

TEST(gpu_context, after_an_error_that_cuda_does_not_get_over_the_device_is_lost) {
  FakeGpu gpu;
  gpu.driver.fail_from("cuStreamCreate", 1, CUDA_ERROR_ECC_UNCORRECTABLE);
  const auto message = message_of<MeasurementError>([&] { gpu::OwnedStream(gpu.context); });
  CHECK_HAS(message, "CUDA_ERROR_ECC_UNCORRECTABLE");
  CHECK_HAS(message, "start it again");
  CHECK(gpu.context->is_lost());
  const auto calls = gpu.driver.calls("cuCtxPushCurrent");
  CHECK_HAS(message_of<MeasurementError>([&] { gpu::Context::Current(*gpu.context); }), "Fake GPU 0");
  CHECK_HAS(message_of<MeasurementError>([&] { gpu.context->free_memory_bytes(); }), "was lost");
  CHECK_EQUAL(gpu.driver.calls("cuCtxPushCurrent"), calls);
  gpu.context = nullptr;
  CHECK_EQUAL(gpu.driver.calls("cuDevicePrimaryCtxRelease"), 0);
}

TEST(gpu_context, no_room_for_a_context_is_out_of_memory) {
  FakeDriver driver;
  const auto& cuda = gpu::Driver::load(fake_cuda_path());
  driver.fail("cuDevicePrimaryCtxRetain", 1, CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_HAS(message_of<OutOfMemoryError>([&] { gpu::Context::open(cuda, 0); }), "cuDevicePrimaryCtxRetain");
  CHECK_EQUAL(driver.live("contexts"), 0);
  CHECK(gpu::Context::open(cuda, 0) != nullptr);
}

}  // namespace pyperf::test
