// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "core/loop.hpp"
#include "gpu/waiting.hpp"

namespace pyperf::gpu {

struct StreamPlan {
  Wait wait = Wait::kSpin;
  bool include_transfers = false;              // copy inputs in and outputs out with every call
  bool gate = true;                            // hold the launch back in mode cold, where the target allows it
  std::int64_t timeout_ns = 120'000'000'000;   // of one call, after which the device is taken to hang
  std::int64_t gate_timeout_ns = 500'000'000;  // after which the watchdog opens the gate
  std::int64_t in_flight = 16;                 // calls queued on each stream in mode throughput
  WhileWaiting while_waiting = nullptr;
};

// Both throw UsageError.
void check(const StreamPlan& plan);
void check_timeout(std::int64_t timeout_ns);

// Whether submit returns before the work is done.
enum class Asynchrony { kUnknown, kProved, kSynchronises };

const char* name_of(Asynchrony asynchrony);

// What the loop measures of no work at all, on a stream and with a way of waiting; medians of 1,000 samples.
struct EventOverhead {
  std::int64_t latency_ns;  // host: from submit until the empty stream is seen done
  std::int64_t span_ns;     // device: between the two events
  std::int64_t step_ns;     // the smallest difference between two such spans; 0 where all were alike
};

// A runner whose work lies on streams of a GPU.
class StreamRunner : public Runner {
 public:
  // Finds out whether submit returns before the work is done, by submitting behind a closed gate: nothing can then have
  // been waited for. To be called after the first runs, which may load modules and allocate. Runs at most three calls,
  // or ten to look at where the device cannot be held back.
  virtual Asynchrony probe_asynchrony() = 0;

  // Of the first stream. Takes some milliseconds.
  virtual EventOverhead measure_overhead() = 0;

  // What was found out so far; another thread may ask while this one measures.
  Asynchrony asynchrony() const { return findings().asynchrony; }
  std::string asynchrony_evidence() const { return findings().evidence; }

  // Of mode cold: whether launches are held back, and why not ("" where they are).
  bool is_gated() const { return findings().gated; }
  std::string gate_reason() const { return findings().gate_reason; }
  std::int64_t gate_timeouts() const { return findings().gate_timeouts; }  // samples thrown away, so far
  std::int64_t flush_bytes() const { return findings().flush_bytes; }      // 0 before the first cold sample

 protected:
  struct Findings {
    Asynchrony asynchrony = Asynchrony::kUnknown;
    std::string evidence = "not looked at";
    bool gated = false;
    std::string gate_reason = "no cold sample was taken";
    std::int64_t gate_timeouts = 0;
    std::int64_t flush_bytes = 0;
  };

  Findings findings() const {
    const std::lock_guard lock(mutex_);
    return findings_;
  }

  template <class Change>
  void find(Change change) {
    const std::lock_guard lock(mutex_);
    change(findings_);
  }

 private:
  mutable std::mutex mutex_;  // not taken for a sample that is well
  Findings findings_;
};

}  // namespace pyperf::gpu
