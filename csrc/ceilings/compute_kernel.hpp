// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "ceilings/features.hpp"
#include "ceilings/operands.hpp"

namespace pyperf {

// Multiply-adds from registers into registers, on the calling thread. There are as many independent accumulators as
// cover the instruction's latency at its throughput, so that the execution units are all that limits it.
struct ComputeKernel {
  using Function = std::uint64_t (*)(const Operands& operands, Accumulators& accumulators, std::int64_t repeats);

  Precision precision;
  std::string_view instructions;
  bool Features::* needs;         // null: nothing beyond the base architecture
  std::int64_t flops_per_repeat;  // two a multiply-add
  Function run;
  // The same with a chain of dependent additions woven in, so long that the multiply-adds finish in its shadow at less
  // than half of their full rate: its speed is the clock of a core that does such work, which on some processors is
  // lower than that of an idle one, and back within microseconds. Returns the chain's sum.
  std::int64_t chain_per_repeat;  // additions, of a cycle each
  Function run_with_chain;
};

// Those of `precision` that a processor with `features` runs, of what this build has for its architecture.
std::vector<ComputeKernel> compute_kernels(const Features& features, Precision precision);

}  // namespace pyperf
