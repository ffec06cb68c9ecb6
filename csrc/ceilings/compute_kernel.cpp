// SPDX-License-Identifier: Apache-2.0
#include "ceilings/compute_kernel.hpp"

#include "ceilings/kernel_lists.hpp"

namespace pyperf {

std::vector<ComputeKernel> compute_kernels(const Features& features, Precision precision) {
  std::vector<ComputeKernel> found;
  for (const auto& list : {x86_tile_kernels(), x86_narrow_kernels(), x86_vector_kernels(), neon_kernels()}) {
    for (const auto& kernel : list) {
      if (kernel.precision == precision && features.*kernel.needs) found.push_back(kernel);
    }
  }
  if (!found.empty()) return found;
  for (const auto& kernel : portable_kernels()) {
    if (kernel.precision == precision) found.push_back(kernel);
  }
  return found;
}

}  // namespace pyperf
