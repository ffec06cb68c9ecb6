// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "gpu/memory.hpp"
#include "gpu/stream.hpp"

namespace pyperf::gpu {

// Empties a GPU's L2 cache by writing to memory twice its size, on the stream that is to find it empty.
class L2Flush {
 public:
  explicit L2Flush(std::shared_ptr<Context> context)
      : context_(std::move(context)), memory_(context_, 2 * static_cast<std::size_t>(context_->facts().l2_bytes)) {
    if (memory_.bytes() == 0) {
      throw MeasurementError("the driver does not tell the size of the L2 cache of " + context_->facts().name +
                             ", so that it cannot be flushed: mode cold cannot be measured");
    }
  }

  // Another value each time, so that no line is left as it is. The stream's context is current.
  void queue(CUstream stream) {
    PYPERF_CUDA(*context_, cuMemsetD32Async(memory_.address(), ++value_, memory_.bytes() / sizeof value_, stream));
  }

  std::size_t bytes() const { return memory_.bytes(); }

 private:
  std::shared_ptr<Context> context_;
  DeviceBuffer memory_;
  std::uint32_t value_ = 0;
};

}  // namespace pyperf::gpu
