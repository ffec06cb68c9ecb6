// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Dependent additions of registers, each of which takes a cycle, as many as `kCount`. From core Golden Cove on Intel's
// processors execute additions of small constants while renaming, without any latency; these are none of that kind.
namespace pyperf {

template <int kCount>
__attribute__((always_inline)) inline void chain_step(std::uint64_t& sum, std::uint64_t step) {
  if constexpr (kCount == 0) {
    (void)sum;
    (void)step;
  } else {
#if defined(__x86_64__)
    __asm__ volatile(".rept %c2\n\taddq %1, %0\n\t.endr" : "+r"(sum) : "r"(step), "i"(kCount) : "cc");
#elif defined(__aarch64__)
    __asm__ volatile(".rept %c2\n\tadd %0, %0, %1\n\t.endr" : "+r"(sum) : "r"(step), "i"(kCount));
#else
    for (int i = 0; i < kCount; ++i) {
      sum += step;
      __asm__ volatile("" : "+r"(sum));
    }
#endif
  }
}

}  // namespace pyperf
