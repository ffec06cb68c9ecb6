// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace pyperf {

// What the system did, as counters since some moment in the past; the difference of two snapshots is what it did in
// between. A value that this system does not show is absent, never 0.
struct Activity {
  std::int64_t wall_ns = 0;
  std::int64_t user_cpu_ns = 0;    // of this process
  std::int64_t system_cpu_ns = 0;  // of this process
  std::int64_t voluntary_switches = 0;
  std::int64_t involuntary_switches = 0;
  std::int64_t minor_faults = 0;
  std::int64_t major_faults = 0;
  std::optional<std::int64_t> steal_ns;           // all processors; the hypervisor ran somebody else
  std::optional<std::int64_t> machine_busy_ns;    // all processors, all processes, without steal
  std::optional<std::int64_t> throttled_ns;       // by the cgroup's CPU quota
  std::optional<std::int64_t> throttled_periods;  // the same, as a count
  std::optional<double> frequency_mhz_min;        // over the processors, at the moment of the snapshot
  std::optional<double> frequency_mhz_max;
};

// `root` is put before /proc and /sys, so that tests can show it other systems.
Activity take_activity_snapshot(const std::string& root = "");

// The counters of `end` less those of `begin`; the frequencies are the lowest and highest of both.
Activity operator-(const Activity& end, const Activity& begin);

}  // namespace pyperf
