// SPDX-License-Identifier: Apache-2.0
#include "ceilings/chain_step.hpp"
#include "ceilings/kernel_lists.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

// GCC gives an intrinsic to any function whose target has it; clang does so from release 16 on.
#if defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16)
#define PYPERF_NEON_TARGETS
#endif

namespace pyperf {

#if defined(__aarch64__)
namespace {

// Four units x 4 cycles make 16 (Neoverse V1 and V2); with three operands 20 fit in the 32 registers.
constexpr int kCount = 20;

template <int kAdds>
std::uint64_t float32_neon(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<float*>(accumulators.bytes);
  const float32x4_t x = vld1q_f32(reinterpret_cast<const float*>(operands.x));
  const float32x4_t y = vld1q_f32(reinterpret_cast<const float*>(operands.y));
  const float32x4_t z = vld1q_f32(reinterpret_cast<const float*>(operands.z));
  float32x4_t sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = vld1q_f32(state + 4 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vfmaq_f32(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vfmaq_f32(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) vst1q_f32(state + 4 * i, sums[i]);
  return chain;
}

template <int kAdds>
std::uint64_t float64_neon(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<double*>(accumulators.bytes);
  const float64x2_t x = vld1q_f64(reinterpret_cast<const double*>(operands.x));
  const float64x2_t y = vld1q_f64(reinterpret_cast<const double*>(operands.y));
  const float64x2_t z = vld1q_f64(reinterpret_cast<const double*>(operands.z));
  float64x2_t sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = vld1q_f64(state + 2 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vfmaq_f64(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vfmaq_f64(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) vst1q_f64(state + 2 * i, sums[i]);
  return chain;
}

#if defined(PYPERF_NEON_TARGETS)
template <int kAdds>
PYPERF_TARGET("arch=armv8.2-a+fp16")
std::uint64_t float16_neon(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<float16_t*>(accumulators.bytes);
  const float16x8_t x = vld1q_f16(reinterpret_cast<const float16_t*>(operands.x));
  const float16x8_t y = vld1q_f16(reinterpret_cast<const float16_t*>(operands.y));
  const float16x8_t z = vld1q_f16(reinterpret_cast<const float16_t*>(operands.z));
  float16x8_t sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = vld1q_f16(state + 8 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vfmaq_f16(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vfmaq_f16(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) vst1q_f16(state + 8 * i, sums[i]);
  return chain;
}

// Each accumulator is a 2 x 2 matrix, x and y two rows of four.
template <int kAdds>
PYPERF_TARGET("arch=armv8.2-a+bf16")
std::uint64_t bfloat16_neon(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<float*>(accumulators.bytes);
  const bfloat16x8_t x = vld1q_bf16(reinterpret_cast<const bfloat16_t*>(operands.x));
  const bfloat16x8_t y = vld1q_bf16(reinterpret_cast<const bfloat16_t*>(operands.y));
  const bfloat16x8_t z = vld1q_bf16(reinterpret_cast<const bfloat16_t*>(operands.z));
  float32x4_t sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = vld1q_f32(state + 4 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vbfmmlaq_f32(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vbfmmlaq_f32(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) vst1q_f32(state + 4 * i, sums[i]);
  return chain;
}

template <int kAdds>
PYPERF_TARGET("arch=armv8.2-a+dotprod")
std::uint64_t int8_neon(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<std::int32_t*>(accumulators.bytes);
  const int8x16_t x = vld1q_s8(reinterpret_cast<const std::int8_t*>(operands.x));
  const int8x16_t y = vld1q_s8(reinterpret_cast<const std::int8_t*>(operands.y));
  const int8x16_t z = vld1q_s8(reinterpret_cast<const std::int8_t*>(operands.z));
  int32x4_t sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = vld1q_s32(state + 4 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vdotq_s32(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = vdotq_s32(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) vst1q_s32(state + 4 * i, sums[i]);
  return chain;
}
#endif

constexpr std::int64_t flops(std::int64_t products) { return 2 * 2 * kCount * products; }

constexpr ComputeKernel kKernels[] = {
    {Precision::kFloat32, "neon fma", &Features::neon, flops(4), &float32_neon<0>, 2 * kCount * 2, &float32_neon<2>},
    {Precision::kFloat64, "neon fma", &Features::neon, flops(2), &float64_neon<0>, 2 * kCount * 2, &float64_neon<2>},
#if defined(PYPERF_NEON_TARGETS)
    {Precision::kFloat16, "neon fp16", &Features::neon_fp16, flops(8), &float16_neon<0>, 2 * kCount * 2,
     &float16_neon<2>},
    {Precision::kBfloat16, "neon bfmmla", &Features::neon_bf16, flops(16), &bfloat16_neon<0>, 2 * kCount * 4,
     &bfloat16_neon<4>},
    {Precision::kInt8, "neon sdot", &Features::neon_dot, flops(16), &int8_neon<0>, 2 * kCount * 4, &int8_neon<4>},
#endif
};

}  // namespace

std::span<const ComputeKernel> neon_kernels() { return kKernels; }
#else
std::span<const ComputeKernel> neon_kernels() { return {}; }
#endif

}  // namespace pyperf
