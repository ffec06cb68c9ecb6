// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

// What is left of an array behind the last whole block of vectors, a double at a time.
namespace pyperf {

// The compiler must neither turn a loop into a call of memcpy, nor exchange it with the loop over passes, nor leave out
// stores that a later pass repeats.
inline void keep_order() { __asm__ volatile("" ::: "memory"); }

inline std::uint64_t load_tail(const double* from, std::size_t at, std::size_t count) {
  std::uint64_t sum = 0;
  for (; at < count; ++at) {
    std::uint64_t word;
    std::memcpy(&word, from + at, sizeof word);
    sum += word;
    keep_order();  // no vectors here: the whole blocks have them
  }
  return sum;
}

inline void copy_tail(double* to, const double* from, std::size_t at, std::size_t count) {
  for (; at < count; ++at) {
    to[at] = from[at];
    keep_order();
  }
}

inline void triad_tail(double* to, const double* b, const double* c, double s, std::size_t at, std::size_t count) {
  for (; at < count; ++at) {
    to[at] = b[at] + s * c[at];
    keep_order();
  }
}

}  // namespace pyperf
