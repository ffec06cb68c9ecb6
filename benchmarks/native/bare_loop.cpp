// SPDX-License-Identifier: Apache-2.0
// Two steady_clock reads around nothing, the difference stored: the least that timing one call can cost.
// Usage: bare_loop CALLS PASSES; prints the median over passes of the wall time of one call.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

using Clock = std::chrono::steady_clock;

static double pass_ns(std::int64_t* samples, std::int64_t calls) {
  const auto begin = Clock::now();
  for (std::int64_t i = 0; i < calls; ++i) {
    const auto before = Clock::now();
    const auto after = Clock::now();
    samples[i] = (after - before).count();
  }
  const std::chrono::duration<double, std::nano> elapsed = Clock::now() - begin;
  return elapsed.count() / static_cast<double>(calls);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::int64_t calls = std::atoll(argv[1]);
  const std::size_t passes = static_cast<std::size_t>(std::atoll(argv[2]));
  std::vector<std::int64_t> samples(static_cast<std::size_t>(calls) * passes);  // zeroed: its pages are there
  std::vector<double> costs;
  for (std::size_t pass = 0; pass < passes; ++pass) {
    costs.push_back(pass_ns(samples.data() + static_cast<std::int64_t>(pass) * calls, calls));
  }
  std::int64_t sum = 0;
  for (const auto sample : samples) sum += sample;  // read, so that the stores cannot be left out
  std::sort(costs.begin(), costs.end());
  std::printf("{\"per_call_ns\": %.6f, \"mean_sample_ns\": %.6f}\n", costs[passes / 2],
              static_cast<double>(sum) / static_cast<double>(samples.size()));
}
