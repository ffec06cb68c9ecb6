// SPDX-License-Identifier: Apache-2.0
#include "core/warmup.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/batching.hpp"
#include "core/error.hpp"
#include "core/measure.hpp"

namespace pyperf {
namespace {

constexpr std::size_t kWindows = 4;
constexpr std::int64_t kWindowNs = 20'000'000;
constexpr std::int64_t kFewestCallsInWindow = 3;
constexpr std::int64_t kMostCallsInWindow = 100'000;  // a window of a very short call need not fill its 20 ms
constexpr double kTolerance = 0.02;
constexpr std::size_t kMostKept = 1'000'000;

struct Window {
  double median_ns;
  double notch_ns;
};

Window summarise(std::vector<std::int64_t> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&samples](double quantile) {
    return static_cast<double>(samples[static_cast<std::size_t>(quantile * static_cast<double>(samples.size() - 1))]);
  };
  return {at(0.5), 1.57 * (at(0.75) - at(0.25)) / std::sqrt(static_cast<double>(samples.size()))};
}

bool is_steady(const std::array<Window, kWindows>& windows) {
  const auto by_median = [](const Window& a, const Window& b) { return a.median_ns < b.median_ns; };
  const auto [fastest, slowest] = std::minmax_element(windows.begin(), windows.end(), by_median);
  const double uncertainty = fastest->notch_ns + slowest->notch_ns;
  return slowest->median_ns - fastest->median_ns <= std::max(uncertainty, kTolerance * fastest->median_ns);
}

}  // namespace

void check(const WarmupPlan& plan) {
  if (plan.min_calls < 0) throw UsageError("the least number of warm-up calls is negative");
  if (plan.budget_ns < 0) throw UsageError("the warm-up budget is negative");
}

WarmupOutcome warm_up(Runner& runner, const WarmupPlan& plan, Checkpoint& checkpoint) {
  check(plan);
  WarmupOutcome outcome;
  std::array<Window, kWindows> windows{};
  std::size_t filled = 0;
  std::vector<std::int64_t> window;
  BatchSize batch_size;
  const std::int64_t begin_ns = runner.now_ns();
  const auto unfinished = [&] {
    const bool judged = outcome.steady || outcome.duration_ns >= plan.budget_ns;
    return outcome.calls < plan.min_calls || !judged;
  };
  while (unfinished()) {
    Samples batch;
    const std::int64_t left_ns = plan.budget_ns - outcome.duration_ns;
    const auto calls = std::min(batch_size.next(std::min(left_ns, kWindowNs)), kMostCallsInWindow);
    batch_size.observe(calls, run_batch(runner, plan.mode, calls, batch));
    const auto samples = batch.view();
    if (outcome.calls == 0) outcome.first_call_ns = samples.front();
    outcome.calls += calls;
    outcome.duration_ns = runner.now_ns() - begin_ns;
    if (!checkpoint.pass({Phase::kWarmup, outcome.calls, outcome.duration_ns, plan.budget_ns, samples.back()})) {
      outcome.interrupted = true;
      return outcome;
    }
    const auto room = kMostKept - std::min(kMostKept, outcome.samples_ns.size());
    const auto kept = samples.first(std::min(room, samples.size()));
    outcome.samples_ns.insert(outcome.samples_ns.end(), kept.begin(), kept.end());
    window.insert(window.end(), samples.begin(), samples.end());
    std::int64_t window_ns = 0;
    for (const auto sample : window) window_ns += sample;
    const auto in_window = static_cast<std::int64_t>(window.size());
    const bool long_enough = window_ns >= kWindowNs || in_window >= kMostCallsInWindow;
    if (in_window < kFewestCallsInWindow || !long_enough) continue;
    windows[filled++ % kWindows] = summarise(std::move(window));
    window.clear();
    outcome.steady = filled >= kWindows && is_steady(windows);
  }
  return outcome;
}

}  // namespace pyperf
