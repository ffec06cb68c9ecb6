// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ceilings/features.hpp"

namespace pyperf {

enum class Pattern { kLoad, kCopy, kTriad };

const char* name_of(Pattern pattern);

// Arrays that a pattern streams through: load a; copy a = b; triad a = b + s * c (McCalpin's STREAM).
constexpr int arrays_of(Pattern pattern) { return static_cast<int>(pattern) + 1; }

// Whole grains divide into one, two or three arrays that every kernel goes over in whole blocks.
inline constexpr std::size_t kStreamGrainBytes = 3072;

// Loops over arrays of doubles by vectors of one width, `passes` times. The arrays begin at multiples of 64 bytes and
// do not overlap; they may end anywhere.
struct StreamKernels {
  std::string_view instructions;
  bool Features::* needs;   // null: nothing beyond the base architecture
  std::size_t block_bytes;  // of an array, the most that a loop goes over at once; a tail goes a double at a time
  // Loads and does nothing with what it loads: additions alone would keep it from the rate of the innermost cache.
  // What it returns means nothing. `sum` is the same loop with them, and returns the sum of the array's words as
  // integers over all passes; with it tests see that every word is loaded.
  std::uint64_t (*load)(const double* from, std::size_t count, std::int64_t passes);
  std::uint64_t (*sum)(const double* from, std::size_t count, std::int64_t passes);
  void (*copy)(double* to, const double* from, std::size_t count, std::int64_t passes);
  void (*triad)(double* to, const double* b, const double* c, double s, std::size_t count, std::int64_t passes);
  // The same with stores that go around the caches, and no read of the line that is written to. They are done when the
  // call returns.
  void (*copy_around)(double* to, const double* from, std::size_t count, std::int64_t passes);
  void (*triad_around)(double* to, const double* b, const double* c, double s, std::size_t count, std::int64_t passes);
};

// The widest that a processor with `features` runs.
const StreamKernels& stream_kernels(const Features& features);

}  // namespace pyperf
