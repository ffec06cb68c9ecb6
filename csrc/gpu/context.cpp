// SPDX-License-Identifier: Apache-2.0
#include "gpu/context.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <utility>

namespace pyperf::gpu {
namespace {

CUdevice device_at(const Driver& driver, int ordinal) {
  const int count = device_count(driver);
  if (ordinal < 0 || ordinal >= count) {
    throw BackendError("there is no GPU " + std::to_string(ordinal) + "; this process sees " +
                       (count == 0   ? "none"
                        : count == 1 ? "one, number 0"
                                     : std::to_string(count) + ", numbers 0 to " + std::to_string(count - 1)) +
                       " (CUDA_VISIBLE_DEVICES may hide others)");
  }
  CUdevice device = 0;
  driver.check(driver.cuDeviceGet(&device, ordinal), "cuDeviceGet");
  return device;
}

std::string text_of(const CUuuid& uuid) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "GPU-";
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace

int device_count(const Driver& driver) {
  int count = 0;
  driver.check(driver.cuDeviceGetCount(&count), "cuDeviceGetCount");
  return count;
}

DeviceFacts describe_device(const Driver& driver, int ordinal) {
  const CUdevice device = device_at(driver, ordinal);
  DeviceFacts facts;
  facts.ordinal = ordinal;
  std::array<char, 256> name{};
  driver.check(driver.cuDeviceGetName(name.data(), static_cast<int>(name.size()), device), "cuDeviceGetName");
  facts.name = name.data();
  std::array<char, 32> bus{};
  if (driver.cuDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device) == CUDA_SUCCESS) {
    facts.pci_bus_id = bus.data();
  }
  if (CUuuid uuid{}; driver.cuDeviceGetUuid(&uuid, device) == CUDA_SUCCESS) facts.uuid = text_of(uuid);
  std::size_t memory = 0;
  driver.check(driver.cuDeviceTotalMem(&memory, device), "cuDeviceTotalMem");
  facts.memory_bytes = static_cast<std::int64_t>(memory);
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    return driver.cuDeviceGetAttribute(&value, which, device) == CUDA_SUCCESS ? value : 0;
  };
  facts.compute_major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  facts.compute_minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  facts.multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  facts.l2_bytes = attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  facts.sm_clock_khz = attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
  facts.memory_clock_khz = attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  facts.memory_bus_bits = attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  return facts;
}

std::shared_ptr<Context> Context::open(const Driver& driver, int ordinal) {
  static std::mutex mutex;
  static std::map<std::pair<const Driver*, int>, std::weak_ptr<Context>> opened;
  const std::lock_guard lock(mutex);
  auto& known = opened[{&driver, ordinal}];
  if (auto context = known.lock()) return context;
  auto context = std::make_shared<Context>(driver, ordinal);
  known = context;
  return context;
}

Context::Context(const Driver& driver, int ordinal)
    : driver_(driver), facts_(describe_device(driver, ordinal)), device_(device_at(driver, ordinal)) {
  PYPERF_CUDA(*this, cuDevicePrimaryCtxRetain(&context_, device_));
}

Context::~Context() {
  if (!is_lost()) driver_.cuDevicePrimaryCtxRelease(device_);
}

int Context::attribute(CUdevice_attribute which) const {
  int value = 0;
  PYPERF_CUDA(*this, cuDeviceGetAttribute(&value, which, device_));
  return value;
}

std::int64_t Context::free_memory_bytes() const {
  const Current current(*this);
  std::size_t free = 0;
  std::size_t total = 0;
  PYPERF_CUDA(*this, cuMemGetInfo(&free, &total));
  return static_cast<std::int64_t>(free);
}

std::int64_t Context::used_memory_bytes() const { return facts_.memory_bytes - free_memory_bytes(); }

void Context::fail(CUresult result, const char* call) const {
  if (is_fatal(result)) lose();
  driver_.fail(result, call);
}

Context::Current::Current(const Context& context) : context_(context) {
  if (context.is_lost()) [[unlikely]] {
    throw MeasurementError("the GPU (" + context.facts().name +
                           ") was lost to an earlier error, or hangs; start the process again to use it");
  }
  PYPERF_CUDA(context, cuCtxPushCurrent(context.handle()));
}

Context::Current::~Current() {
  CUcontext popped = nullptr;
  context_.driver().cuCtxPopCurrent(&popped);  // on a lost device this fails, and there is nothing to be done about it
}

}  // namespace pyperf::gpu
