// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace pyperf {

// Work of a known size, for a timer to be tried on: steps that each need the one before, in registers alone. Its time
// is proportional to the steps whatever the clock does; one step is a multiplication and an addition, about 1 ns.
class Spin {
 public:
  static constexpr bool kNeedsPython = false;

  explicit Spin(std::int64_t iterations) : iterations_(iterations) {}

  void submit() {
    std::uint64_t state = state_;
    // Numerical Recipes' generator: any will do of which no step can be left out.
    for (std::int64_t i = 0; i < iterations_; ++i) {
      state = state * 1664525U + 1013904223U;
      asm volatile("" : "+r"(state));
    }
    state_ = state;
  }
  void wait() {}
  void settle() {}

 private:
  std::int64_t iterations_;
  std::uint64_t state_ = 1;
};

}  // namespace pyperf
