// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "ceilings/kernel_lists.hpp"
#include "ceilings/stream_tail.hpp"

namespace pyperf {
namespace {

// Blocks of this many are made vectors of by the compiler, which must not make a call of memcpy of them.
constexpr std::size_t kBlock = 16;

std::uint64_t load(const double* from, std::size_t count, std::int64_t passes) {
  const std::size_t whole = count - count % kBlock;
  std::uint64_t sums[kBlock] = {};
  std::uint64_t tails = 0;
  for (; passes > 0; --passes) {
    for (std::size_t at = 0; at < whole; at += kBlock) {
      std::uint64_t words[kBlock];
      std::memcpy(words, from + at, sizeof words);
      for (std::size_t i = 0; i < kBlock; ++i) sums[i] += words[i];
    }
    tails += load_tail(from, whole, count);
    keep_order();
  }
  for (const auto sum : sums) tails += sum;
  return tails;
}

void copy(double* to, const double* from, std::size_t count, std::int64_t passes) {
  const std::size_t whole = count - count % kBlock;
  for (; passes > 0; --passes) {
    for (std::size_t at = 0; at < whole; at += kBlock) {
      for (std::size_t i = 0; i < kBlock; ++i) to[at + i] = from[at + i];
      keep_order();
    }
    copy_tail(to, from, whole, count);
    keep_order();
  }
}

void triad(double* to, const double* b, const double* c, double s, std::size_t count, std::int64_t passes) {
  const std::size_t whole = count - count % kBlock;
  for (; passes > 0; --passes) {
    for (std::size_t at = 0; at < whole; at += kBlock) {
      for (std::size_t i = at; i < at + kBlock; ++i) to[i] = b[i] + s * c[i];
      keep_order();
    }
    triad_tail(to, b, c, s, whole, count);
    keep_order();
  }
}

// Without stores around the caches in the language, the plain ones take their place.
constexpr StreamKernels kStreams[] = {
    {"portable", nullptr, kBlock * sizeof(double), &load, &load, &copy, &triad, &copy, &triad}};

}  // namespace

std::span<const StreamKernels> portable_streams() { return kStreams; }

}  // namespace pyperf
