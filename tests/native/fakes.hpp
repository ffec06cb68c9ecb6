// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "core/checkpoint.hpp"
#include "core/loop.hpp"

// A world without real time: the clock stands still but for what a target's work and a reading of the clock take.
namespace pyperf::test {

struct FakeClock {
  static std::int64_t now_ns() noexcept {
    time_ns += read_cost_ns;
    if (log != nullptr) log->push_back("clock");
    return time_ns;
  }

  static inline std::int64_t time_ns = 0;
  static inline std::int64_t read_cost_ns = 0;
  static inline std::vector<std::string>* log = nullptr;
};

// Puts the clock back to 0 at the beginning and the end of a test.
struct FreshClock {
  explicit FreshClock(std::int64_t read_cost_ns = 0, std::vector<std::string>* log = nullptr) {
    FakeClock::time_ns = 0;
    FakeClock::read_cost_ns = read_cost_ns;
    FakeClock::log = log;
  }
  ~FreshClock() {
    FakeClock::read_cost_ns = 0;
    FakeClock::log = nullptr;
  }
};

// What call number i (from 0) takes.
using Duration = std::function<std::int64_t(std::int64_t call)>;

struct FakeTarget {
  static constexpr bool kNeedsPython = false;

  explicit FakeTarget(Duration duration, Duration wait = nullptr, Duration settle = nullptr)
      : submit_ns(std::move(duration)), wait_ns(std::move(wait)), settle_ns(std::move(settle)) {}

  void submit();
  void wait();
  void settle();

  struct BatchScope {
    explicit BatchScope(FakeTarget& target) : target(target) {
      ++target.batches;
      target.inside_batch = true;
    }
    ~BatchScope() { target.inside_batch = false; }
    FakeTarget& target;
  };

  Duration submit_ns;
  Duration wait_ns;
  Duration settle_ns;
  std::int64_t throw_at = -1;  // the call whose submit throws
  std::int64_t calls = 0;
  std::int64_t batches = 0;
  bool inside_batch = false;
  std::vector<std::string>* log = nullptr;
};

using FakeLoop = LoopOver<FakeTarget, FakeClock>;

inline Duration always(std::int64_t ns) {
  return [ns](std::int64_t) { return ns; };
}

// Independent, normal, at least 1 ns.
Duration noisy(double mean_ns, double sigma_ns, std::uint64_t seed);

// Normal with the same spread, each call leaning on the one before: x[i] = rho x[i-1] + sqrt(1 - rho^2) noise.
Duration autocorrelated(double mean_ns, double sigma_ns, double rho, std::uint64_t seed);

// Remembers every progress and stops at the pass with the given number.
class FakeCheckpoint final : public Checkpoint {
 public:
  explicit FakeCheckpoint(std::int64_t stop_at = -1) : stop_at_(stop_at) {}
  bool pass(const Progress& progress) override {
    if (on_pass) on_pass();
    seen.push_back(progress);
    return static_cast<std::int64_t>(seen.size()) != stop_at_;
  }

  std::vector<Progress> seen;
  std::function<void()> on_pass;

 private:
  std::int64_t stop_at_;
};

}  // namespace pyperf::test
