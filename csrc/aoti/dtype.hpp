// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

namespace pyperf::aoti {

// An element type that tensors can go in and come out with. libtorch numbers them; `entry` is its function that tells
// the number.
struct Dtype {
  const char* name;  // NumPy's, and bfloat16
  const char* entry;
  std::size_t bytes;
};

std::span<const Dtype> dtypes();

}  // namespace pyperf::aoti
