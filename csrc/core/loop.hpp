// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/flush.hpp"
#include "core/quantity.hpp"

// A target is anything the loop can run:
//
//   void submit();   hands the work over; throws pyperf::Error when it fails
//   void wait();     returns when the work is done (nothing to do where submit returns only then)
//   void settle();   clean-up that is no part of the work, such as freeing a result; runs outside the window
//
// optionally `struct BatchScope` made once around each batch (to take a lock, say), given the target.
namespace pyperf {

struct NoBatchScope {
  template <class Target>
  explicit NoBatchScope(Target&) {}
};

template <class Target>
auto batch_scope_of(int) -> typename Target::BatchScope;
template <class Target>
auto batch_scope_of(...) -> NoBatchScope;

// What the schedule, the warm-up and the stop rule see of a target: one indirect call a batch, none an iteration.
class Runner {
 public:
  virtual ~Runner() = default;

  // What a sample of this mode consists of; the first is what the stop rule and the schedule judge.
  virtual std::span<const Quantity> quantities(Mode mode) const = 0;

  // One call a sample: from submit until the work is done. `done` counts what was finished, also when it throws.
  virtual void latency(Rows samples, std::int64_t& done) = 0;

  // Calls back to back; a sample is the period between two completions. One clock read a call.
  virtual void throughput(Rows samples, std::int64_t& done) = 0;

  // As latency, with the caches flushed before each call, outside of the window. `done` can be less than there is room
  // for, where samples had to be thrown away.
  virtual void cold(Rows samples, std::int64_t& done) = 0;

  // Many calls between two clock reads: the elapsed nanoseconds of all of them.
  virtual std::int64_t batched(std::int64_t calls) = 0;

  virtual std::int64_t now_ns() const = 0;

  // False where one call leaves the GIL alone from beginning to end.
  virtual bool needs_python() const = 0;

  // What cold() empties the processor's caches with.
  void flush_with(Flush* flush) { flush_ = flush; }

 protected:
  Flush* flush_ = nullptr;
};

template <class Target, class Clock = SteadyClock>
class LoopOver final : public Runner {
 public:
  explicit LoopOver(Target& target) : target_(target) {}

  std::span<const Quantity> quantities(Mode mode) const override {
    static constexpr std::array kLatency{Quantity::kLatency};
    static constexpr std::array kPeriod{Quantity::kPeriod};
    return mode == Mode::kThroughput ? kPeriod : kLatency;
  }

  void latency(Rows samples, std::int64_t& done) override {
    one_by_one(samples, done, [] {});
  }

  void cold(Rows samples, std::int64_t& done) override {
    done = 0;
    if (flush_ == nullptr) throw UsageError("mode cold takes something to flush the caches with");
    one_by_one(samples, done, [flush = flush_] { flush->flush(); });
  }

  void throughput(Rows samples, std::int64_t& done) override {
    BatchScope scope(target_);
    Target& target = target_;
    done = 0;
    std::int64_t* const first = samples.begin();
    std::int64_t* const last = samples.end();
    std::int64_t* sample = first;
    try {
      std::int64_t previous_ns = Clock::now_ns();
      for (; sample != last; ++sample) {
        target.submit();
        target.wait();
        target.settle();
        const std::int64_t completed_ns = Clock::now_ns();
        *sample = completed_ns - previous_ns;
        previous_ns = completed_ns;
      }
    } catch (...) {
      done = sample - first;
      throw;
    }
    done = sample - first;
  }

  std::int64_t batched(std::int64_t calls) override {
    BatchScope scope(target_);
    Target& target = target_;
    const std::int64_t begin_ns = Clock::now_ns();
    for (std::int64_t i = 0; i < calls; ++i) {
      target.submit();
      target.wait();
      target.settle();
    }
    return Clock::now_ns() - begin_ns;
  }

  std::int64_t now_ns() const override { return Clock::now_ns(); }
  bool needs_python() const override { return Target::kNeedsPython; }

 private:
  using BatchScope = decltype(batch_scope_of<Target>(0));

  template <class Before>
  void one_by_one(Rows samples, std::int64_t& done, Before before) {
    BatchScope scope(target_);
    Target& target = target_;
    std::int64_t* const first = samples.begin();
    std::int64_t* const last = samples.end();
    std::int64_t* sample = first;
    try {
      for (; sample != last; ++sample) {
        before();
        const std::int64_t begin_ns = Clock::now_ns();
        target.submit();
        target.wait();
        *sample = Clock::now_ns() - begin_ns;
        target.settle();
      }
    } catch (...) {
      done = sample - first;
      throw;
    }
    done = sample - first;
  }

  Target& target_;
};

}  // namespace pyperf
