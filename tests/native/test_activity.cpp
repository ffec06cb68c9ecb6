// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "check.hpp"
#include "core/activity.hpp"

namespace pyperf::test {
namespace {

namespace fs = std::filesystem;

// A made-up /proc and /sys, gone at the end of the test.
class FakeRoot {
 public:
  FakeRoot() {
    std::string name = (fs::temp_directory_path() / "pyperf_activity_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~FakeRoot() { fs::remove_all(path_); }

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(path_ + path).parent_path());
    std::ofstream(path_ + path) << text;
  }
  Activity snapshot() const { return take_activity_snapshot(path_); }

 private:
  std::string path_;
};

std::int64_t tick_ns() { return 1'000'000'000 / sysconf(_SC_CLK_TCK); }

}  // namespace

TEST(activity, a_system_that_shows_nothing_gives_absent_values_not_zeros) {
  const FakeRoot root;
  const auto activity = root.snapshot();
  CHECK(!activity.steal_ns);
  CHECK(!activity.machine_busy_ns);
  CHECK(!activity.throttled_ns);
  CHECK(!activity.throttled_periods);
  CHECK(!activity.frequency_mhz_min);
  CHECK(!activity.frequency_mhz_max);
  CHECK(activity.wall_ns > 0);
}

TEST(activity, steal_and_busy_time_come_from_the_line_of_all_processors) {
  const FakeRoot root;
  root.write("/proc/stat", "cpu  100 20 30 4000 50 6 7 89 11 12\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
  const auto activity = root.snapshot();
  CHECK_EQUAL(*activity.steal_ns, 89 * tick_ns());
  CHECK_EQUAL(*activity.machine_busy_ns, (100 + 20 + 30 + 6 + 7) * tick_ns());  // neither idle, iowait nor guest
}

TEST(activity, a_torn_or_foreign_stat_file_is_no_information) {
  const FakeRoot root;
  root.write("/proc/stat", "cpu  100 20 30");
  CHECK(!root.snapshot().steal_ns);
  root.write("/proc/stat", "intr 1 2 3 4 5 6 7 8 9\n");
  CHECK(!root.snapshot().steal_ns);
}

TEST(activity, throttling_of_cgroup_v2) {
  const FakeRoot root;
  root.write("/proc/self/cgroup", "0::/user.slice/job\n");
  root.write("/sys/fs/cgroup/user.slice/job/cpu.stat",
             "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 40\nnr_throttled 7\nthrottled_usec 1234\n");
  const auto activity = root.snapshot();
  CHECK_EQUAL(*activity.throttled_periods, 7);
  CHECK_EQUAL(*activity.throttled_ns, 1'234'000);
}

TEST(activity, in_a_container_the_folder_of_the_host_is_not_there_and_the_root_is_read) {
  const FakeRoot root;
  root.write("/proc/self/cgroup", "0::/docker/0123456789abcdef\n");
  root.write("/sys/fs/cgroup/cpu.stat", "nr_throttled 3\nthrottled_usec 9\n");
  CHECK_EQUAL(*root.snapshot().throttled_periods, 3);
}

TEST(activity, throttling_of_cgroup_v1) {
  for (const char* folder : {"cpu", "cpu,cpuacct"}) {
    const FakeRoot root;
    root.write("/proc/self/cgroup", "12:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/\n");
    root.write(std::string("/sys/fs/cgroup/") + folder + "/job/cpu.stat",
               "nr_periods 10\nnr_throttled 2\nthrottled_time 555\n");
    const auto activity = root.snapshot();
    CHECK_EQUAL(*activity.throttled_periods, 2);
    CHECK_EQUAL(*activity.throttled_ns, 555);
  }
}

TEST(activity, a_cgroup_without_a_quota_shows_no_throttling) {
  const FakeRoot root;
  root.write("/proc/self/cgroup", "0::/\nnonsense\n3:cpuset:/elsewhere\n");
  root.write("/sys/fs/cgroup/cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\n");
  const auto activity = root.snapshot();
  CHECK(!activity.throttled_ns);
  CHECK(!activity.throttled_periods);
}

TEST(activity, frequencies_are_the_lowest_and_highest_over_the_processors) {
  const FakeRoot root;
  root.write("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2400000\n");
  CHECK_EQUAL(*root.snapshot().frequency_mhz_min, 2'400.0);
  CHECK_EQUAL(*root.snapshot().frequency_mhz_max, 2'400.0);
  if (sysconf(_SC_NPROCESSORS_CONF) < 2) return;
  root.write("/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "800000\n");
  CHECK_EQUAL(*root.snapshot().frequency_mhz_min, 800.0);
  CHECK_EQUAL(*root.snapshot().frequency_mhz_max, 2'400.0);
}

TEST(activity, a_difference_is_what_happened_in_between) {
  Activity begin;
  begin.wall_ns = 100;
  begin.involuntary_switches = 5;
  begin.steal_ns = 10;
  begin.throttled_ns = 1;
  begin.frequency_mhz_min = 1'000.0;
  begin.frequency_mhz_max = 3'000.0;
  Activity end = begin;
  end.wall_ns = 350;
  end.involuntary_switches = 9;
  end.major_faults = 2;
  end.steal_ns = 17;
  end.throttled_ns = std::nullopt;
  end.frequency_mhz_min = 1'500.0;
  end.frequency_mhz_max = 3'500.0;
  const auto delta = end - begin;
  CHECK_EQUAL(delta.wall_ns, 250);
  CHECK_EQUAL(delta.involuntary_switches, 4);
  CHECK_EQUAL(delta.major_faults, 2);
  CHECK_EQUAL(*delta.steal_ns, 7);
  CHECK(!delta.throttled_ns);  // known at one end only
  CHECK_EQUAL(*delta.frequency_mhz_min, 1'000.0);
  CHECK_EQUAL(*delta.frequency_mhz_max, 3'500.0);
}

TEST(activity, work_of_this_process_shows) {
  const auto begin = take_activity_snapshot();
  Activity delta;
  do {
    delta = take_activity_snapshot() - begin;  // reading files is work
  } while (delta.user_cpu_ns + delta.system_cpu_ns < 20'000'000 && delta.wall_ns < 20'000'000'000);
  CHECK(delta.user_cpu_ns + delta.system_cpu_ns >= 20'000'000);
  CHECK(delta.wall_ns > 0);
}

}  // namespace pyperf::test
