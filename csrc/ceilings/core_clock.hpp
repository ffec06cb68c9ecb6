// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "ceilings/compute_kernel.hpp"

namespace pyperf {

// Chains of instructions each of which needs the result of the one before, so that a core takes a known number of
// cycles for each however wide it is.
inline constexpr int kChainLength = 64;

// `rounds` x kChainLength dependent additions, of 1 cycle each. Returns their sum, rounds x kChainLength x step.
std::uint64_t add_chain(std::int64_t rounds, std::uint64_t step);

// `rounds` x kChainLength dependent multiplications: 3 cycles each on Intel's processors since Nehalem and on AMD's
// since Zen. Elsewhere nothing depends on them. Returns factor to that power.
std::uint64_t multiply_chain(std::int64_t rounds, std::uint64_t factor);
inline constexpr int kMultiplyCycles = 3;

// Cycles a second of the core that this runs on, over `window_ns`: of pieces of about 50 us the fastest, since whatever
// interrupts one makes it slower.
double clock_by_additions_hz(std::int64_t window_ns);
double clock_by_multiplications_hz(std::int64_t window_ns);
// The same while the core does the multiply-adds of `kernel`, by the chain that is woven into them.
double clock_under_hz(const ComputeKernel& kernel, const Operands& operands, Accumulators& accumulators,
                      std::int64_t window_ns);

}  // namespace pyperf
