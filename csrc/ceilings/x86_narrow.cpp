// SPDX-License-Identifier: Apache-2.0
#include "ceilings/chain_step.hpp"
#include "ceilings/kernel_lists.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Before release 16 clang has the type only where all of a file is compiled for it.
#if defined(__x86_64__) && (!defined(__clang__) || __clang_major__ >= 16)
#define PYPERF_X86_HALF
#endif

namespace pyperf {

#if defined(__x86_64__)
namespace {

// vdpbf16ps takes longer than a multiply-add does (6 cycles on Zen 4 and more on Intel); ZMM has registers to spare.
constexpr int kCount = 16;
constexpr int kCountOf16Registers = 12;

template <int kAdds>
PYPERF_TARGET("avx512f,avx512bw,avx512bf16")
std::uint64_t bfloat16_avx512(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<float*>(accumulators.bytes);
  const auto x = reinterpret_cast<__m512bh>(_mm512_load_si512(operands.x));
  const auto y = reinterpret_cast<__m512bh>(_mm512_load_si512(operands.y));
  const auto z = reinterpret_cast<__m512bh>(_mm512_load_si512(operands.z));
  __m512 sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = _mm512_load_ps(state + 16 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_dpbf16_ps(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_dpbf16_ps(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) _mm512_store_ps(state + 16 * i, sums[i]);
  return chain;
}

#if defined(PYPERF_X86_HALF)
template <int kAdds>
PYPERF_TARGET("avx512f,avx512bw,avx512fp16")
std::uint64_t float16_avx512(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  const __m512h x = _mm512_load_ph(operands.x);
  const __m512h y = _mm512_load_ph(operands.y);
  const __m512h z = _mm512_load_ph(operands.z);
  __m512h sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = _mm512_load_ph(accumulators.bytes + 64 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_fmadd_ph(x, y, sums[i]);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_fmadd_ph(x, z, sums[i]);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) _mm512_store_ph(accumulators.bytes + 64 * i, sums[i]);
  return chain;
}
#endif

template <int kAdds>
PYPERF_TARGET("avx512f,avx512bw,avx512vnni")
std::uint64_t int8_avx512(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  const __m512i x = _mm512_load_si512(operands.x);
  const __m512i y = _mm512_load_si512(operands.y);
  const __m512i z = _mm512_load_si512(operands.z);
  __m512i sums[kCount];
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) sums[i] = _mm512_load_si512(accumulators.bytes + 64 * i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_dpbusd_epi32(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCount; ++i) {
      sums[i] = _mm512_dpbusd_epi32(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCount; ++i) _mm512_store_si512(accumulators.bytes + 64 * i, sums[i]);
  return chain;
}

template <int kAdds>
PYPERF_TARGET("avx2,avxvnni")
std::uint64_t int8_avx(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  auto* const state = reinterpret_cast<__m256i*>(accumulators.bytes);
  const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(operands.x));
  const __m256i y = _mm256_load_si256(reinterpret_cast<const __m256i*>(operands.y));
  const __m256i z = _mm256_load_si256(reinterpret_cast<const __m256i*>(operands.z));
  __m256i sums[kCountOf16Registers];
  PYPERF_UNROLL
  for (int i = 0; i < kCountOf16Registers; ++i) sums[i] = _mm256_load_si256(state + i);
  for (; repeats > 0; --repeats) {
    PYPERF_UNROLL
    for (int i = 0; i < kCountOf16Registers; ++i) {
      sums[i] = _mm256_dpbusd_avx_epi32(sums[i], x, y);
      chain_step<kAdds>(chain, step);
    }
    PYPERF_UNROLL
    for (int i = 0; i < kCountOf16Registers; ++i) {
      sums[i] = _mm256_dpbusd_avx_epi32(sums[i], x, z);
      chain_step<kAdds>(chain, step);
    }
  }
  PYPERF_UNROLL
  for (int i = 0; i < kCountOf16Registers; ++i) _mm256_store_si256(state + i, sums[i]);
  return chain;
}

constexpr std::int64_t flops(std::int64_t accumulators, std::int64_t products) {
  return 2 * 2 * accumulators * products;
}

constexpr ComputeKernel kKernels[] = {
    {Precision::kBfloat16, "avx512 bf16", &Features::avx512_bf16, flops(kCount, 32), &bfloat16_avx512<0>,
     2 * kCount * 4, &bfloat16_avx512<4>},
#if defined(PYPERF_X86_HALF)
    {Precision::kFloat16, "avx512 fp16", &Features::avx512_fp16, flops(kCount, 32), &float16_avx512<0>, 2 * kCount * 2,
     &float16_avx512<2>},
#endif
    {Precision::kInt8, "avx512 vnni", &Features::avx512_vnni, flops(kCount, 64), &int8_avx512<0>, 2 * kCount * 4,
     &int8_avx512<4>},
    {Precision::kInt8, "avx vnni", &Features::avx_vnni, flops(kCountOf16Registers, 32), &int8_avx<0>,
     2 * kCountOf16Registers * 4, &int8_avx<4>},
};

}  // namespace

std::span<const ComputeKernel> x86_narrow_kernels() { return kKernels; }
#else
std::span<const ComputeKernel> x86_narrow_kernels() { return {}; }
#endif

}  // namespace pyperf
