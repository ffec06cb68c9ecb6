// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace pyperf {

// A batch is as long as Ctrl-C and the progress bar may wait, and never so long that it overruns what is left.
constexpr std::int64_t kBatchNs = 50'000'000;

inline std::int64_t calls_in(std::int64_t duration_ns, std::int64_t per_call_ns) {
  return std::max<std::int64_t>(1, duration_ns / std::max<std::int64_t>(1, per_call_ns));
}

// The first batch is one call, since nothing is known yet; later ones at most grow tenfold, since little is.
class BatchSize {
 public:
  std::int64_t next(std::int64_t left_ns) const {
    if (per_call_ns_ == 0) return 1;
    return std::min(calls_in(std::min(kBatchNs, std::max<std::int64_t>(left_ns, 1)), per_call_ns_), last_calls_ * 10);
  }

  void observe(std::int64_t calls, std::int64_t elapsed_ns) {
    last_calls_ = std::max<std::int64_t>(1, calls);
    per_call_ns_ = std::max<std::int64_t>(1, elapsed_ns / last_calls_);
  }

 private:
  std::int64_t per_call_ns_ = 0;
  std::int64_t last_calls_ = 1;
};

}  // namespace pyperf
