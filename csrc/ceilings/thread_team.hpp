// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <barrier>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pyperf {

// Threads that each keep to a processor of their own and do the same job at the same time. Between two jobs they sleep.
class ThreadTeam {
 public:
  // Throws UsageError without a processor or with one that there cannot be, MeasurementError where the system gives no
  // thread, or does not let one keep to its processor.
  explicit ThreadTeam(std::vector<int> cpus);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  std::size_t size() const { return cpus_.size(); }

  // Returns when `job(thread)` has returned on every thread, and rethrows what the first of them threw. A job that
  // meets the others in `together` must not throw before it does.
  void run(const std::function<void(std::size_t thread)>& job);

  // For jobs: returns in all threads at once, as closely as spinning can have it. Any number of times in a job, by all.
  void together();

 private:
  void serve(std::size_t thread);
  void stop(std::size_t never_started);

  std::vector<int> cpus_;
  std::barrier<> begin_;
  std::barrier<> end_;
  const std::function<void(std::size_t)>* job_ = nullptr;  // null asks the threads to end
  std::mutex failed_mutex_;
  std::exception_ptr failed_;
  std::atomic<std::size_t> arrived_{0};
  std::atomic<std::size_t> meetings_{0};
  std::vector<std::thread> threads_;
};

}  // namespace pyperf
