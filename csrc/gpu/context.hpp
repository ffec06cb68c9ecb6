// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "gpu/driver.hpp"

namespace pyperf::gpu {

// What is known of a GPU. A value that its driver does not tell is 0.
struct DeviceFacts {
  int ordinal = 0;
  std::string name;
  std::string uuid;        // "GPU-01234567-89ab-cdef-0123-456789abcdef", as NVML writes it
  std::string pci_bus_id;  // "0000:01:00.0"
  int compute_major = 0;
  int compute_minor = 0;
  int multiprocessors = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t l2_bytes = 0;
  int sm_clock_khz = 0;  // the highest
  int memory_clock_khz = 0;
  int memory_bus_bits = 0;

  // Two transfers a clock over the whole bus: what the memory could move at its highest clock.
  double memory_bandwidth_bytes_per_s() const { return 2.0 * memory_clock_khz * 1e3 * memory_bus_bits / 8.0; }
};

// Throws BackendError where there is no such GPU, with how many there are.
DeviceFacts describe_device(const Driver& driver, int ordinal);

int device_count(const Driver& driver);

// The primary context of a GPU: the one that torch and ONNX Runtime use too. Everything that lives in it keeps it.
class Context {
 public:
  // The same object for as long as anybody holds it. Throws as describe_device, OutOfMemoryError where the GPU has no
  // room for a context.
  static std::shared_ptr<Context> open(const Driver& driver, int ordinal);

  Context(const Driver& driver, int ordinal);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const Driver& driver() const { return driver_; }
  const DeviceFacts& facts() const { return facts_; }
  CUcontext handle() const { return context_; }

  int attribute(CUdevice_attribute which) const;
  std::int64_t free_memory_bytes() const;
  std::int64_t used_memory_bytes() const;

  // Every result of a call in this context goes through here; see PYPERF_CUDA.
  void check(CUresult result, const char* call) const {
    if (result != CUDA_SUCCESS) [[unlikely]]
      fail(result, call);
  }
  [[noreturn]] void fail(CUresult result, const char* call) const;

  // Set by an error after which CUDA refuses every call, and by work that did not end in time. From then on nothing is
  // freed: the call would fail, or wait for that work for ever.
  bool is_lost() const { return lost_.load(std::memory_order_relaxed); }
  void lose() const { lost_.store(true, std::memory_order_relaxed); }

  // Makes a context the calling thread's for as long as this lives. Throws MeasurementError where the device is lost:
  // work would be queued behind what hangs, and waited for in vain once more.
  class Current {
   public:
    explicit Current(const Context& context);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

   private:
    const Context& context_;
  };

  // For destructors: calls `free` with the context current, unless the device is lost. What fails is lost with it.
  template <class Free>
  void release(Free free) const noexcept {
    if (is_lost()) return;
    try {
      const Current current(*this);
      free(driver_);
    } catch (const Error&) {
    }
  }

 private:
  const Driver& driver_;
  DeviceFacts facts_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  mutable std::atomic<bool> lost_{false};
};

// Calls a driver function and checks its result, with the call's own text for the message:
// PYPERF_CUDA(context, cuMemFree(pointer)).
#define PYPERF_CUDA(context, ...) (context).check((context).driver().__VA_ARGS__, #__VA_ARGS__)

}  // namespace pyperf::gpu
