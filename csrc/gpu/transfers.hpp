// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "gpu/stream.hpp"

namespace pyperf::gpu {

// Copies between pinned host memory and a GPU's, in a fixed order; whoever makes the list keeps the memory.
class Transfers {
 public:
  struct Copy {
    CUdeviceptr device;
    void* host;
    std::size_t bytes;
  };

  Transfers() = default;
  Transfers(std::vector<Copy> inputs, std::vector<Copy> outputs)
      : inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  void queue_inputs(const StreamView& stream) const {
    for (const auto& copy : inputs_) {
      PYPERF_CUDA(stream.context(), cuMemcpyHtoDAsync(copy.device, copy.host, copy.bytes, stream.handle()));
    }
  }

  void queue_outputs(const StreamView& stream) const {
    for (const auto& copy : outputs_) {
      PYPERF_CUDA(stream.context(), cuMemcpyDtoHAsync(copy.host, copy.device, copy.bytes, stream.handle()));
    }
  }

 private:
  std::vector<Copy> inputs_;
  std::vector<Copy> outputs_;
};

}  // namespace pyperf::gpu
