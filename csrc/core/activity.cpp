// SPDX-License-Identifier: Apache-2.0
#include "core/activity.hpp"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <vector>

#include "core/clock.hpp"

namespace pyperf {
namespace {

std::int64_t to_ns(const timeval& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::int64_t>(time.tv_usec) * 1'000;
}

// First line of /proc/stat: cpu user nice system idle iowait irq softirq steal guest guest_nice, in clock ticks. Guest
// time is part of user time already.
void read_proc_stat(const std::string& root, Activity& activity) {
  std::ifstream file(root + "/proc/stat");
  std::string word;
  std::int64_t user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  if (!(file >> word >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal) || word != "cpu") return;
  const std::int64_t tick_ns = 1'000'000'000 / std::max(1L, sysconf(_SC_CLK_TCK));
  activity.machine_busy_ns = (user + nice + system + irq + softirq) * tick_ns;
  activity.steal_ns = steal * tick_ns;
}

// The folder of this process's CPU controller: "0::/path" for cgroup v2, "N:...,cpu,...:/path" for v1.
std::vector<std::string> cpu_stat_files(const std::string& root) {
  std::vector<std::string> files;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = ",";
    controllers.append(line, first + 1, second - first - 1).append(",");
    const std::string path = line.substr(second + 1);
    for (const std::string& where : {path, std::string()}) {  // in a container the path is that of the host
      if (controllers == ",,") files.push_back(root + "/sys/fs/cgroup" + where + "/cpu.stat");
      if (controllers.find(",cpu,") != std::string::npos) {
        files.push_back(root + "/sys/fs/cgroup/cpu" + where + "/cpu.stat");
        files.push_back(root + "/sys/fs/cgroup/cpu,cpuacct" + where + "/cpu.stat");
      }
    }
  }
  return files;
}

void read_cgroup(const std::string& root, Activity& activity) {
  for (const auto& path : cpu_stat_files(root)) {
    std::ifstream file(path);
    std::string name;
    for (std::int64_t value = 0; file >> name >> value;) {
      if (name == "nr_throttled") activity.throttled_periods = value;
      if (name == "throttled_usec") activity.throttled_ns = value * 1'000;  // v2
      if (name == "throttled_time") activity.throttled_ns = value;          // v1, in nanoseconds
    }
    if (activity.throttled_periods) return;
  }
}

void see_frequency(double mhz, Activity& activity) {
  activity.frequency_mhz_min = std::min(activity.frequency_mhz_min.value_or(mhz), mhz);
  activity.frequency_mhz_max = std::max(activity.frequency_mhz_max.value_or(mhz), mhz);
}

// scaling_cur_freq only: what /proc/cpuinfo shows where there is none is the nominal frequency of many machines.
void read_frequencies(const std::string& root, Activity& activity) {
  const long processors = std::max(1L, sysconf(_SC_NPROCESSORS_CONF));
  for (long cpu = 0; cpu < processors; ++cpu) {
    std::ifstream file(root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/scaling_cur_freq");
    double khz = 0.0;
    if (file >> khz) see_frequency(khz / 1'000.0, activity);
  }
}

std::optional<std::int64_t> difference(std::optional<std::int64_t> end, std::optional<std::int64_t> begin) {
  if (!end || !begin) return std::nullopt;
  return *end - *begin;
}

}  // namespace

Activity take_activity_snapshot(const std::string& root) {
  Activity activity;
  activity.wall_ns = SteadyClock::now_ns();
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    activity.user_cpu_ns = to_ns(usage.ru_utime);
    activity.system_cpu_ns = to_ns(usage.ru_stime);
    activity.voluntary_switches = usage.ru_nvcsw;
    activity.involuntary_switches = usage.ru_nivcsw;
    activity.minor_faults = usage.ru_minflt;
    activity.major_faults = usage.ru_majflt;
  }
  read_proc_stat(root, activity);
  read_cgroup(root, activity);
  read_frequencies(root, activity);
  return activity;
}

Activity operator-(const Activity& end, const Activity& begin) {
  Activity delta;
  delta.wall_ns = end.wall_ns - begin.wall_ns;
  delta.user_cpu_ns = end.user_cpu_ns - begin.user_cpu_ns;
  delta.system_cpu_ns = end.system_cpu_ns - begin.system_cpu_ns;
  delta.voluntary_switches = end.voluntary_switches - begin.voluntary_switches;
  delta.involuntary_switches = end.involuntary_switches - begin.involuntary_switches;
  delta.minor_faults = end.minor_faults - begin.minor_faults;
  delta.major_faults = end.major_faults - begin.major_faults;
  delta.steal_ns = difference(end.steal_ns, begin.steal_ns);
  delta.machine_busy_ns = difference(end.machine_busy_ns, begin.machine_busy_ns);
  delta.throttled_ns = difference(end.throttled_ns, begin.throttled_ns);
  delta.throttled_periods = difference(end.throttled_periods, begin.throttled_periods);
  for (const auto& snapshot : {begin, end}) {
    if (snapshot.frequency_mhz_min) see_frequency(*snapshot.frequency_mhz_min, delta);
    if (snapshot.frequency_mhz_max) see_frequency(*snapshot.frequency_mhz_max, delta);
  }
  return delta;
}

}  // namespace pyperf
