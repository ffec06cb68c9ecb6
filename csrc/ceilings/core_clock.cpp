// SPDX-License-Identifier: Apache-2.0
#include "ceilings/core_clock.hpp"

#include <algorithm>

#include "ceilings/chain_step.hpp"
#include "core/clock.hpp"

namespace pyperf {
namespace {

constexpr std::int64_t kPieceNs = 50'000;

template <class Chain>
double fastest_hz(std::int64_t window_ns, double cycles_a_round, Chain chain) {
  std::int64_t rounds = 64;
  double highest = 0;
  const std::int64_t end_ns = SteadyClock::now_ns() + window_ns;
  for (std::int64_t begin_ns = SteadyClock::now_ns();; begin_ns = SteadyClock::now_ns()) {
    chain(rounds);
    const std::int64_t done_ns = SteadyClock::now_ns();
    const std::int64_t took_ns = std::max<std::int64_t>(1, done_ns - begin_ns);
    if (took_ns < kPieceNs) {
      rounds *= 2;  // the clock's own step would show in short ones
    } else {
      highest = std::max(highest, static_cast<double>(rounds) * cycles_a_round / static_cast<double>(took_ns) * 1e9);
      if (done_ns >= end_ns) return highest;
    }
  }
}

}  // namespace

std::uint64_t add_chain(std::int64_t rounds, std::uint64_t step) {
  std::uint64_t sum = 0;
  for (; rounds > 0; --rounds) chain_step<kChainLength>(sum, step);
  return sum;
}

std::uint64_t multiply_chain(std::int64_t rounds, std::uint64_t factor) {
  std::uint64_t product = 1;
  for (; rounds > 0; --rounds) {
#if defined(__x86_64__)
    __asm__ volatile(".rept %c2\n\timulq %1, %0\n\t.endr" : "+r"(product) : "r"(factor), "i"(kChainLength) : "cc");
#else
    for (std::int64_t i = 0; i < kChainLength; ++i) {
      product *= factor;
      __asm__ volatile("" : "+r"(product));
    }
#endif
  }
  return product;
}

double clock_by_additions_hz(std::int64_t window_ns) {
  return fastest_hz(window_ns, kChainLength, [](std::int64_t rounds) { add_chain(rounds, 3); });
}

double clock_under_hz(const ComputeKernel& kernel, const Operands& operands, Accumulators& accumulators,
                      std::int64_t window_ns) {
  return fastest_hz(window_ns, static_cast<double>(kernel.chain_per_repeat),
                    [&](std::int64_t repeats) { kernel.run_with_chain(operands, accumulators, repeats); });
}

double clock_by_multiplications_hz(std::int64_t window_ns) {
  return fastest_hz(window_ns, kChainLength * kMultiplyCycles, [](std::int64_t rounds) { multiply_chain(rounds, 3); });
}

}  // namespace pyperf
