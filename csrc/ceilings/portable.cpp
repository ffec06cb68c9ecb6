// SPDX-License-Identifier: Apache-2.0
#include "ceilings/chain_step.hpp"
#include "ceilings/kernel_lists.hpp"

namespace pyperf {
namespace {

// For processors that nothing else here is written for: what the compiler makes of a plain loop for the architecture's
// base. 12 vectors of 16 bytes, which any vector unit's registers hold.
template <class Number, int kAdds>
std::uint64_t multiply_add(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  constexpr int kLanes = 16 / sizeof(Number);
  constexpr int kVectors = 12;
  typedef Number Vector __attribute__((vector_size(16)));
  const Vector x = *reinterpret_cast<const Vector*>(operands.x);
  const Vector y = *reinterpret_cast<const Vector*>(operands.y);
  const Vector z = *reinterpret_cast<const Vector*>(operands.z);
  auto* const state = reinterpret_cast<Vector*>(accumulators.bytes);
  static_assert(sizeof(Vector) == kLanes * sizeof(Number));
  Vector sums[kVectors];
  PYPERF_UNROLL
  for (int i = 0; i < kVectors; ++i) sums[i] = state[i];
  for (; repeats > 0; --repeats) {
    // Without a multiply-add instruction the product would be the same in every round, and computed once.
    Vector multiplicand = x;
    __asm__ volatile("" : "+m"(multiplicand));
    PYPERF_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      sums[i] += multiplicand * y;
      __asm__ volatile("" : "+m"(multiplicand));
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kVectors; ++i) {
      sums[i] += multiplicand * z;
      __asm__ volatile("" : "+m"(multiplicand));
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kVectors; ++i) state[i] = sums[i];
  return chain;
}

constexpr std::int64_t flops(std::int64_t lanes) { return 2 * 2 * 12 * lanes; }

constexpr std::int64_t kChain = 2 * 12 * 4;

constexpr ComputeKernel kKernels[] = {
    {Precision::kFloat32, "portable", nullptr, flops(4), &multiply_add<float, 0>, kChain, &multiply_add<float, 4>},
    {Precision::kFloat64, "portable", nullptr, flops(2), &multiply_add<double, 0>, kChain, &multiply_add<double, 4>},
};

}  // namespace

std::span<const ComputeKernel> portable_kernels() { return kKernels; }

}  // namespace pyperf
