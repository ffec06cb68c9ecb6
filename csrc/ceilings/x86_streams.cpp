// SPDX-License-Identifier: Apache-2.0
#include "ceilings/kernel_lists.hpp"
#include "ceilings/stream_tail.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pyperf {

#if defined(__x86_64__)
namespace {

struct Avx512 {
  static constexpr std::size_t kWidth = 8;

  template <bool kSum>
  PYPERF_TARGET("avx512f")
  static std::uint64_t load(const double* from, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 8 * kWidth;
    const std::size_t whole = count - count % kBlock;
    __m512i sums = _mm512_setzero_si512();
    std::uint64_t tails = 0;
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = 0; i < 8; ++i) {
          __m512i words;
          __asm__ volatile("vmovdqa64 %1, %0"
                           : "=v"(words)
                           : "m"(*reinterpret_cast<const __m512i*>(from + at + i * kWidth)));
          if constexpr (kSum) sums = _mm512_add_epi64(sums, words);
        }
      }
      tails += load_tail(from, whole, count);
    }
    if constexpr (kSum) {
      alignas(64) std::uint64_t words[kWidth];
      _mm512_store_si512(reinterpret_cast<__m512i*>(words), sums);
      for (const auto word : words) tails += word;
    }
    return tails;
  }

  PYPERF_TARGET("avx512f")
  static void copy(double* to, const double* from, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 8 * kWidth;
    const std::size_t whole = count - count % kBlock;
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = 0; i < 8; ++i)
          _mm512_store_pd(to + at + i * kWidth, _mm512_load_pd(from + at + i * kWidth));
        keep_order();
      }
      copy_tail(to, from, whole, count);
      keep_order();
    }
  }

  PYPERF_TARGET("avx512f")
  static void copy_around(double* to, const double* from, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 8 * kWidth;
    const std::size_t whole = count - count % kBlock;
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = 0; i < 8; ++i)
          _mm512_stream_pd(to + at + i * kWidth, _mm512_load_pd(from + at + i * kWidth));
        keep_order();
      }
      copy_tail(to, from, whole, count);
      keep_order();
    }
    _mm_sfence();
  }

  PYPERF_TARGET("avx512f")
  static void triad(double* to, const double* b, const double* c, double s, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 4 * kWidth;
    const std::size_t whole = count - count % kBlock;
    const __m512d factor = _mm512_set1_pd(s);
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = at; i < at + kBlock; i += kWidth) {
          _mm512_store_pd(to + i, _mm512_fmadd_pd(factor, _mm512_load_pd(c + i), _mm512_load_pd(b + i)));
        }
        keep_order();
      }
      triad_tail(to, b, c, s, whole, count);
      keep_order();
    }
  }

  PYPERF_TARGET("avx512f")
  static void triad_around(double* to, const double* b, const double* c, double s, std::size_t count,
                           std::int64_t passes) {
    constexpr std::size_t kBlock = 4 * kWidth;
    const std::size_t whole = count - count % kBlock;
    const __m512d factor = _mm512_set1_pd(s);
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = at; i < at + kBlock; i += kWidth) {
          _mm512_stream_pd(to + i, _mm512_fmadd_pd(factor, _mm512_load_pd(c + i), _mm512_load_pd(b + i)));
        }
        keep_order();
      }
      triad_tail(to, b, c, s, whole, count);
      keep_order();
    }
    _mm_sfence();
  }
};

struct Avx2 {
  static constexpr std::size_t kWidth = 4;

  template <bool kSum>
  PYPERF_TARGET("avx2,fma")
  static std::uint64_t load(const double* from, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 8 * kWidth;
    const std::size_t whole = count - count % kBlock;
    __m256i sums = _mm256_setzero_si256();
    std::uint64_t tails = 0;
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = 0; i < 8; ++i) {
          __m256i words;
          __asm__ volatile("vmovdqa %1, %0"
                           : "=x"(words)
                           : "m"(*reinterpret_cast<const __m256i*>(from + at + i * kWidth)));
          if constexpr (kSum) sums = _mm256_add_epi64(sums, words);
        }
      }
      tails += load_tail(from, whole, count);
    }
    if constexpr (kSum) {
      alignas(64) std::uint64_t words[kWidth];
      _mm256_store_si256(reinterpret_cast<__m256i*>(words), sums);
      for (const auto word : words) tails += word;
    }
    return tails;
  }

  PYPERF_TARGET("avx2,fma")
  static void copy(double* to, const double* from, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 8 * kWidth;
    const std::size_t whole = count - count % kBlock;
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = 0; i < 8; ++i)
          _mm256_store_pd(to + at + i * kWidth, _mm256_load_pd(from + at + i * kWidth));
        keep_order();
      }
      copy_tail(to, from, whole, count);
      keep_order();
    }
  }

  PYPERF_TARGET("avx2,fma")
  static void copy_around(double* to, const double* from, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 8 * kWidth;
    const std::size_t whole = count - count % kBlock;
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = 0; i < 8; ++i)
          _mm256_stream_pd(to + at + i * kWidth, _mm256_load_pd(from + at + i * kWidth));
        keep_order();
      }
      copy_tail(to, from, whole, count);
      keep_order();
    }
    _mm_sfence();
  }

  PYPERF_TARGET("avx2,fma")
  static void triad(double* to, const double* b, const double* c, double s, std::size_t count, std::int64_t passes) {
    constexpr std::size_t kBlock = 4 * kWidth;
    const std::size_t whole = count - count % kBlock;
    const __m256d factor = _mm256_set1_pd(s);
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = at; i < at + kBlock; i += kWidth) {
          _mm256_store_pd(to + i, _mm256_fmadd_pd(factor, _mm256_load_pd(c + i), _mm256_load_pd(b + i)));
        }
        keep_order();
      }
      triad_tail(to, b, c, s, whole, count);
      keep_order();
    }
  }

  PYPERF_TARGET("avx2,fma")
  static void triad_around(double* to, const double* b, const double* c, double s, std::size_t count,
                           std::int64_t passes) {
    constexpr std::size_t kBlock = 4 * kWidth;
    const std::size_t whole = count - count % kBlock;
    const __m256d factor = _mm256_set1_pd(s);
    for (; passes > 0; --passes) {
      for (std::size_t at = 0; at < whole; at += kBlock) {
        PYPERF_UNROLL
        for (std::size_t i = at; i < at + kBlock; i += kWidth) {
          _mm256_stream_pd(to + i, _mm256_fmadd_pd(factor, _mm256_load_pd(c + i), _mm256_load_pd(b + i)));
        }
        keep_order();
      }
      triad_tail(to, b, c, s, whole, count);
      keep_order();
    }
    _mm_sfence();
  }
};

template <class By>
constexpr StreamKernels kernels_by(std::string_view name, bool Features::* needs) {
  return {name,
          needs,
          8 * By::kWidth * sizeof(double),
          &By::template load<false>,
          &By::template load<true>,
          &By::copy,
          &By::triad,
          &By::copy_around,
          &By::triad_around};
}

constexpr StreamKernels kStreams[] = {
    kernels_by<Avx512>("avx512", &Features::avx512f),
    kernels_by<Avx2>("avx2", &Features::avx2_fma),
};

}  // namespace

std::span<const StreamKernels> x86_streams() { return kStreams; }
#else
std::span<const StreamKernels> x86_streams() { return {}; }
#endif

}  // namespace pyperf
