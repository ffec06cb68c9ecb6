// SPDX-License-Identifier: Apache-2.0
#include "ceilings/stream_kernel.hpp"

#include "ceilings/kernel_lists.hpp"

namespace pyperf {

const char* name_of(Pattern pattern) {
  switch (pattern) {
    case Pattern::kLoad:
      return "load";
    case Pattern::kCopy:
      return "copy";
    case Pattern::kTriad:
      break;
  }
  return "triad";
}

const StreamKernels& stream_kernels(const Features& features) {
  for (const auto& list : {x86_streams(), neon_streams()}) {
    for (const auto& kernels : list) {
      if (features.*kernels.needs) return kernels;
    }
  }
  return portable_streams().front();
}

}  // namespace pyperf
