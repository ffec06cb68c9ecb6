// SPDX-License-Identifier: Apache-2.0
#include "fakes.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"

namespace pyperf::test {
namespace {

void work(const Duration& duration, std::int64_t call) {
  if (duration) FakeClock::time_ns += duration(call);
}

}  // namespace

void FakeTarget::submit() {
  if (log != nullptr) log->push_back("submit");
  if (calls == throw_at) throw MeasurementError("the scripted failure");
  work(submit_ns, calls);
}

void FakeTarget::wait() {
  if (log != nullptr) log->push_back("wait");
  work(wait_ns, calls);
}

void FakeTarget::settle() {
  if (log != nullptr) log->push_back("settle");
  work(settle_ns, calls);
  ++calls;
}

Duration noisy(double mean_ns, double sigma_ns, std::uint64_t seed) {
  return autocorrelated(mean_ns, sigma_ns, 0.0, seed);
}

Duration autocorrelated(double mean_ns, double sigma_ns, double rho, std::uint64_t seed) {
  struct State {
    std::mt19937_64 random;
    std::normal_distribution<double> normal{0.0, 1.0};
    double previous;
  };
  auto state = std::make_shared<State>(State{std::mt19937_64(seed), {}, 0.0});
  state->previous = state->normal(state->random);
  return [=](std::int64_t) {
    state->previous = rho * state->previous + std::sqrt(1.0 - rho * rho) * state->normal(state->random);
    return std::max<std::int64_t>(1, std::llround(mean_ns + sigma_ns * state->previous));
  };
}

}  // namespace pyperf::test
