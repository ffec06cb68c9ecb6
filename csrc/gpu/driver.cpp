// SPDX-License-Identifier: Apache-2.0
#include "gpu/driver.hpp"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <string_view>
#include <utility>

namespace pyperf::gpu {
namespace {

constexpr int kOldest = 12000;

// The variants of CUDA 12.0 are asked for: newer drivers keep them, with the same meaning.
constexpr int kVariantsOf = 12000;

std::string text_of(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

// "cuMemFree(pointer)" is written at the call; the message needs its name.
std::string name_in(const char* call) {
  const std::string_view text(call);
  return std::string(text.substr(0, text.find('(')));
}

const char* remedy_for_init(CUresult result) {
  switch (result) {
    case CUDA_ERROR_NO_DEVICE:
      return "no GPU is visible to this process; nvidia-smi lists those there are, and CUDA_VISIBLE_DEVICES or the "
             "container may hide them";
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
      return "libcuda and the kernel module are of different versions; reboot after a driver update";
    case CUDA_ERROR_STUB_LIBRARY:
      return "this libcuda is the toolkit's stub for linking; the driver's own is to be found before it "
             "(LD_LIBRARY_PATH)";
    default:
      return "nvidia-smi may tell more";
  }
}

}  // namespace

bool is_fatal(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_TENSOR_MEMORY_LEAK:
    case CUDA_ERROR_MPS_CLIENT_TERMINATED:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
      return true;
    default:
      return false;
  }
}

Driver& Driver::load(const std::string& path) {
  static std::mutex mutex;
  // Never emptied and never destroyed: the driver's threads, and a waiter that is left alone, outlive what used it.
  static auto& loaded = *new std::map<std::string, Driver*>;
  const std::lock_guard lock(mutex);
  if (const auto found = loaded.find(path); found != loaded.end()) return *found->second;
  auto* driver = new Driver(path);
  loaded.emplace(path, driver);
  return *driver;
}

Driver::Driver(std::string path) : path_(std::move(path)) {
  load_functions();
  check(cuDriverGetVersion(&version_), "cuDriverGetVersion");
  if (version_ < kOldest) {
    throw BackendError("the NVIDIA driver supports CUDA " + text_of(version_) + ", and " + text_of(kOldest) +
                       " or later is needed: update the driver (nvidia-smi shows its version)");
  }
  if (const CUresult result = cuInit(0); result != CUDA_SUCCESS) {
    throw BackendError("CUDA cannot start: cuInit gives " + describe(result) + "; " + remedy_for_init(result));
  }
}

void Driver::load_functions() {
  void* library = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    throw BackendError(
        "there is no NVIDIA driver here: " + path_ + " does not load (" + (why ? why : "no reason given") +
        "). A GPU needs its driver installed, and a container has to be given it (docker run --gpus all)");
  }
  // The type is that of cuGetProcAddress since CUDA 12.
  const auto get = reinterpret_cast<decltype(&::cuGetProcAddress)>(dlsym(library, "cuGetProcAddress_v2"));
  if (get == nullptr) {
    const bool is_driver = dlsym(library, "cuInit") != nullptr;
    dlclose(library);
    throw BackendError(is_driver
                           ? "the NVIDIA driver in " + path_ + " is older than CUDA 12.0, which is needed: update it"
                           : path_ + " is no CUDA driver: it has no cuGetProcAddress_v2");
  }
  const auto find = [&](const char* name) {
    void* function = nullptr;
    CUdriverProcAddressQueryResult found{};
    const CUresult result = get(name, &function, kVariantsOf, CU_GET_PROC_ADDRESS_DEFAULT, &found);
    if (result != CUDA_SUCCESS || function == nullptr) {
      throw BackendError("the NVIDIA driver in " + path_ + " has no " + name + ": update it to CUDA 12.0 or later");
    }
    return function;
  };
#define PYPERF_FIND(name) name = reinterpret_cast<decltype(name)>(find(#name));
  PYPERF_CUDA_FUNCTIONS(PYPERF_FIND)
#undef PYPERF_FIND
}

std::string Driver::describe(CUresult result) const {
  const char* name = nullptr;
  const char* text = nullptr;
  if (cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr) {
    return "error " + std::to_string(static_cast<int>(result));
  }
  cuGetErrorString(result, &text);
  return std::string(name) + (text == nullptr ? "" : " (" + std::string(text) + ")");
}

void Driver::fail(CUresult result, const char* call) const {
  const std::string what = name_in(call) + " failed: " + describe(result);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) throw OutOfMemoryError("the GPU is out of memory: " + what);
  if (is_fatal(result)) {
    throw MeasurementError(what +
                           ". CUDA refuses every further call in this process; start it again, and look for the "
                           "cause with compute-sanitizer");
  }
  if (result == CUDA_ERROR_INVALID_DEVICE || result == CUDA_ERROR_NO_DEVICE) throw BackendError(what);
  throw MeasurementError(what);
}

}  // namespace pyperf::gpu
