// SPDX-License-Identifier: Apache-2.0
#include "gpu/overhead.hpp"

#include <algorithm>
#include <vector>

#include "gpu/stream_loop.hpp"

namespace pyperf::gpu {
namespace {

constexpr std::size_t kSamples = 1'000;

class NoWork {
 public:
  static constexpr bool kNeedsPython = false;
  explicit NoWork(const StreamView& stream) : stream_(stream) {}
  const StreamView& stream() const { return stream_; }
  void h2d() {}
  void submit() {}
  void d2h() {}
  void settle() {}

 private:
  StreamView stream_;
};

std::int64_t smallest_gap_ns(const std::vector<std::int64_t>& sorted) {
  std::int64_t gap_ns = 0;
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    const std::int64_t between_ns = sorted[i] - sorted[i - 1];
    if (between_ns > 0 && (gap_ns == 0 || between_ns < gap_ns)) gap_ns = between_ns;
  }
  return gap_ns;
}

}  // namespace

EventOverhead measure_event_overhead(const StreamView& stream, const StreamPlan& plan) {
  NoWork nothing(stream);
  StreamPlan without_transfers = plan;
  without_transfers.include_transfers = false;
  StreamLoop<NoWork> loop({&nothing}, without_transfers);
  const std::size_t columns = loop.quantities(Mode::kLatency).size();
  std::vector<std::int64_t> values(kSamples * columns);
  std::int64_t done = 0;
  for (int warm = 0; warm < 2; ++warm) loop.latency(Rows(values.data(), kSamples, kSamples), done);
  const auto sorted = [&](std::size_t column) {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(column * kSamples);
    std::vector<std::int64_t> copy(first, first + kSamples);
    std::sort(copy.begin(), copy.end());
    return copy;
  };
  const auto latencies = sorted(0);
  const auto spans = sorted(2);
  return {latencies[kSamples / 2], spans[kSamples / 2], smallest_gap_ns(spans)};
}

}  // namespace pyperf::gpu
