// SPDX-License-Identifier: Apache-2.0
#include "ceilings/kernel_lists.hpp"
#include "ceilings/stream_tail.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pyperf {

#if defined(__aarch64__)
namespace {

constexpr std::size_t kWidth = 2;
constexpr std::size_t kBlock = 8 * kWidth;

template <bool kSum>
std::uint64_t load(const double* from, std::size_t count, std::int64_t passes) {
  const std::size_t whole = count - count % kBlock;
  uint64x2_t sums = vdupq_n_u64(0);
  std::uint64_t tails = 0;
  for (; passes > 0; --passes) {
    for (std::size_t at = 0; at < whole; at += kBlock) {
      PYPERF_UNROLL
      for (std::size_t i = at; i < at + kBlock; i += 2 * kWidth) {
        uint64x2_t first;
        uint64x2_t second;
        __asm__ volatile("ldp %q0, %q1, [%2]" : "=w"(first), "=w"(second) : "r"(from + i) : "memory");
        if constexpr (kSum) sums = vaddq_u64(sums, vaddq_u64(first, second));
      }
    }
    tails += load_tail(from, whole, count);
  }
  if constexpr (kSum) tails += vgetq_lane_u64(sums, 0) + vgetq_lane_u64(sums, 1);
  return tails;
}

// STNP stores a pair with the hint that it will not be read soon, which is all that aarch64 has in place of stores
// around the caches.
template <bool kAround>
inline void store_pair(double* to, float64x2_t first, float64x2_t second) {
  if constexpr (kAround) {
    __asm__ volatile("stnp %q1, %q2, [%0]" : : "r"(to), "w"(first), "w"(second) : "memory");
  } else {
    vst1q_f64(to, first);
    vst1q_f64(to + kWidth, second);
  }
}

template <bool kAround>
void copy(double* to, const double* from, std::size_t count, std::int64_t passes) {
  const std::size_t whole = count - count % kBlock;
  for (; passes > 0; --passes) {
    for (std::size_t at = 0; at < whole; at += kBlock) {
      PYPERF_UNROLL
      for (std::size_t i = at; i < at + kBlock; i += 2 * kWidth) {
        store_pair<kAround>(to + i, vld1q_f64(from + i), vld1q_f64(from + i + kWidth));
      }
      keep_order();
    }
    copy_tail(to, from, whole, count);
    keep_order();
  }
}

template <bool kAround>
void triad(double* to, const double* b, const double* c, double s, std::size_t count, std::int64_t passes) {
  const std::size_t whole = count - count % kBlock;
  const float64x2_t factor = vdupq_n_f64(s);
  for (; passes > 0; --passes) {
    for (std::size_t at = 0; at < whole; at += kBlock) {
      PYPERF_UNROLL
      for (std::size_t i = at; i < at + kBlock; i += 2 * kWidth) {
        store_pair<kAround>(to + i, vfmaq_f64(vld1q_f64(b + i), factor, vld1q_f64(c + i)),
                            vfmaq_f64(vld1q_f64(b + i + kWidth), factor, vld1q_f64(c + i + kWidth)));
      }
      keep_order();
    }
    triad_tail(to, b, c, s, whole, count);
    keep_order();
  }
}

constexpr StreamKernels kStreams[] = {
    {"neon", &Features::neon, kBlock * sizeof(double), &load<false>, &load<true>, &copy<false>, &triad<false>,
     &copy<true>, &triad<true>},
};

}  // namespace

std::span<const StreamKernels> neon_streams() { return kStreams; }
#else
std::span<const StreamKernels> neon_streams() { return {}; }
#endif

}  // namespace pyperf
