// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>

#include "gpu/stream.hpp"

namespace pyperf::gpu {

// A moment on a stream. Made once and used again: making one takes microseconds and recording one far less.
class Event {
 public:
  explicit Event(std::shared_ptr<Context> context, unsigned flags = CU_EVENT_DEFAULT) : context_(std::move(context)) {
    const Context::Current current(*context_);
    PYPERF_CUDA(*context_, cuEventCreate(&event_, flags));
  }
  ~Event() {
    context_->release([this](const Driver& driver) { driver.cuEventDestroy(event_); });
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  CUevent handle() const { return event_; }
  const Context& context() const { return *context_; }

  void record(CUstream stream) const { PYPERF_CUDA(*context_, cuEventRecord(event_, stream)); }

  // Whether all that was queued before it is done. Throws what that work failed with.
  bool is_done() const {
    const CUresult result = context_->driver().cuEventQuery(event_);
    if (result == CUDA_ERROR_NOT_READY) return false;
    context_->check(result, "cuEventQuery");
    return true;
  }

 private:
  std::shared_ptr<Context> context_;
  CUevent event_ = nullptr;
};

// Nanoseconds from one event to another; both must be done. For events that are near: the driver gives a float of
// milliseconds, whose last bit is a nanosecond from 8 ms on and a microsecond from 8 s on.
inline std::int64_t elapsed_ns(const Event& from, const Event& to) {
  float ms = 0.0F;
  PYPERF_CUDA(to.context(), cuEventElapsedTime(&ms, from.handle(), to.handle()));
  return std::llround(static_cast<double>(ms) * 1e6);
}

}  // namespace pyperf::gpu
