// SPDX-License-Identifier: Apache-2.0
#include "ceilings/chain_step.hpp"
#include "ceilings/kernel_lists.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pyperf {

#if defined(__x86_64__)
namespace {

// Two units x 4 or 5 cycles make 10; 12 leave some slack, and with three operands fit in AVX2's 16 registers.
constexpr int kCount = 12;

template <int kAdds>
PYPERF_TARGET("avx2,fma")
std::uint64_t float32_avx2(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<float*>(accumulators.bytes);
  const __m256 x = _mm256_load_ps(reinterpret_cast<const float*>(operands.x));
  const __m256 y = _mm256_load_ps(reinterpret_cast<const float*>(operands.y));
  const __m256 z = _mm256_load_ps(reinterpret_cast<const float*>(operands.z));
  __m256 sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = _mm256_load_ps(state + 8 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm256_fmadd_ps(x, y, sums[i]);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm256_fmadd_ps(x, z, sums[i]);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) _mm256_store_ps(state + 8 * i, sums[i]);
  return chain;
}

template <int kAdds>
PYPERF_TARGET("avx2,fma")
std::uint64_t float64_avx2(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<double*>(accumulators.bytes);
  const __m256d x = _mm256_load_pd(reinterpret_cast<const double*>(operands.x));
  const __m256d y = _mm256_load_pd(reinterpret_cast<const double*>(operands.y));
  const __m256d z = _mm256_load_pd(reinterpret_cast<const double*>(operands.z));
  __m256d sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = _mm256_load_pd(state + 4 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm256_fmadd_pd(x, y, sums[i]);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm256_fmadd_pd(x, z, sums[i]);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) _mm256_store_pd(state + 4 * i, sums[i]);
  return chain;
}

template <int kAdds>
PYPERF_TARGET("avx512f")
std::uint64_t float32_avx512(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<float*>(accumulators.bytes);
  const __m512 x = _mm512_load_ps(operands.x);
  const __m512 y = _mm512_load_ps(operands.y);
  const __m512 z = _mm512_load_ps(operands.z);
  __m512 sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = _mm512_load_ps(state + 16 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_fmadd_ps(x, y, sums[i]);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_fmadd_ps(x, z, sums[i]);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) _mm512_store_ps(state + 16 * i, sums[i]);
  return chain;
}

template <int kAdds>
PYPERF_TARGET("avx512f")
std::uint64_t float64_avx512(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<double*>(accumulators.bytes);
  const __m512d x = _mm512_load_pd(operands.x);
  const __m512d y = _mm512_load_pd(operands.y);
  const __m512d z = _mm512_load_pd(operands.z);
  __m512d sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = _mm512_load_pd(state + 8 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_fmadd_pd(x, y, sums[i]);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_fmadd_pd(x, z, sums[i]);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) _mm512_store_pd(state + 8 * i, sums[i]);
  return chain;
}

constexpr std::int64_t flops(std::int64_t lanes) { return 2 * 2 * kCount * lanes; }

constexpr ComputeKernel kKernels[] = {
    {Precision::kFloat32, "avx512 fma", &Features::avx512f, flops(16), &float32_avx512<0>, 2 * kCount * 2,
     &float32_avx512<2>},
    {Precision::kFloat32, "avx2 fma", &Features::avx2_fma, flops(8), &float32_avx2<0>, 2 * kCount * 2,
     &float32_avx2<2>},
    {Precision::kFloat64, "avx512 fma", &Features::avx512f, flops(8), &float64_avx512<0>, 2 * kCount * 2,
     &float64_avx512<2>},
    {Precision::kFloat64, "avx2 fma", &Features::avx2_fma, flops(4), &float64_avx2<0>, 2 * kCount * 2,
     &float64_avx2<2>},
};

}  // namespace

std::span<const ComputeKernel> x86_vector_kernels() { return kKernels; }
#else
std::span<const ComputeKernel> x86_vector_kernels() { return {}; }
#endif

}  // namespace pyperf
