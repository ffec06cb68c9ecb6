// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace pyperf {

enum class Precision { kFloat64, kFloat32, kBfloat16, kFloat16, kInt8 };

const char* name_of(Precision precision);

// What a kernel multiplies: every accumulator gets x * y added, then x * z. Vector kernels read the first register's
// width of each; AMX reads all, as tiles of 16 rows.
struct Operands {
  static constexpr std::size_t kBytes = 1024;
  alignas(64) std::byte x[kBytes];
  alignas(64) std::byte y[kBytes];
  alignas(64) std::byte z[kBytes];
  std::uint64_t step = 3;  // of the chain, where there is one
};

// Room for the accumulators of any kernel.
struct Accumulators {
  static constexpr std::size_t kBytes = 8192;
  alignas(64) std::byte bytes[kBytes];
};

// Random numbers of magnitude 0.5 to 2 and both signs (int8: 1 to 127, and x positive, for instructions that take it as
// unsigned), with z = -y: what is added is taken away again, so that the accumulators neither grow nor die out however
// long a kernel runs. Zeros would draw less power than data do, and run at a higher clock.
Operands random_operands(Precision precision, std::uint64_t seed);

// Random starting values, of the type that a kernel of this precision accumulates in.
Accumulators random_accumulators(Precision precision, std::uint64_t seed);

}  // namespace pyperf
