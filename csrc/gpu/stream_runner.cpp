// SPDX-License-Identifier: Apache-2.0
#include "gpu/stream_runner.hpp"

#include <string>

#include "core/error.hpp"

namespace pyperf::gpu {
namespace {

constexpr std::int64_t kLongestTimeoutNs = 1'000'000'000'000'000'000;  // can be added to any clock's reading
constexpr std::int64_t kMostInFlight = 10'000;                         // an event is made for each

}  // namespace

void check(const StreamPlan& plan) {
  check_timeout(plan.timeout_ns);
  check_timeout(plan.gate_timeout_ns);
  if (plan.gate_timeout_ns >= plan.timeout_ns) {
    throw UsageError("the gate's timeout is shorter than that of a call: what waits behind the gate is no hang");
  }
  if (plan.in_flight < 1) throw UsageError("at least one call is in flight");
  if (plan.in_flight > kMostInFlight) {
    throw UsageError("at most " + std::to_string(kMostInFlight) + " calls are in flight");
  }
}

void check_timeout(std::int64_t timeout_ns) {
  if (timeout_ns <= 0) throw UsageError("a timeout is longer than 0");
  if (timeout_ns > kLongestTimeoutNs) throw UsageError("a timeout is at most 10^18 ns, which is 31 years");
}

const char* name_of(Asynchrony asynchrony) {
  switch (asynchrony) {
    case Asynchrony::kUnknown:
      return "unknown";
    case Asynchrony::kProved:
      return "proved";
    case Asynchrony::kSynchronises:
      return "sync_inside_submit";
  }
  return "unknown";
}

}  // namespace pyperf::gpu
