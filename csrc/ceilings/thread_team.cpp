// SPDX-License-Identifier: Apache-2.0
#include "ceilings/thread_team.hpp"

#include <sched.h>

#include <string>
#include <utility>

#include "core/error.hpp"
#include "core/thread.hpp"

namespace pyperf {
namespace {

std::vector<int> checked(std::vector<int> cpus) {
  if (cpus.empty()) throw UsageError("there is no processor to run on");
  for (const int cpu : cpus) {
    if (!is_cpu(cpu)) throw UsageError("there is no processor " + std::to_string(cpu) + " to run on");
  }
  return cpus;
}

}  // namespace

ThreadTeam::ThreadTeam(std::vector<int> cpus)
    : cpus_(checked(std::move(cpus))),
      begin_(static_cast<std::ptrdiff_t>(cpus_.size()) + 1),
      end_(static_cast<std::ptrdiff_t>(cpus_.size()) + 1) {
  threads_.reserve(cpus_.size());
  try {
    for (std::size_t i = 0; i < cpus_.size(); ++i) threads_.push_back(start_thread([this, i] { serve(i); }));
  } catch (...) {
    stop(cpus_.size() - threads_.size());
    throw;
  }
  try {
    run([this](std::size_t thread) {
      if (keep_to(cpus_[thread])) return;
      throw MeasurementError("the system does not let a thread keep to processor " + std::to_string(cpus_[thread]) +
                             "; run on processors that this process may use (taskset, cpuset)");
    });
  } catch (...) {
    stop(0);
    throw;
  }
}

ThreadTeam::~ThreadTeam() {
  if (!threads_.empty()) stop(0);
}

void ThreadTeam::stop(std::size_t never_started) {
  job_ = nullptr;
  if (never_started > 0) (void)begin_.arrive(static_cast<std::ptrdiff_t>(never_started));
  begin_.arrive_and_wait();
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

void ThreadTeam::run(const std::function<void(std::size_t)>& job) {
  job_ = &job;
  failed_ = nullptr;
  begin_.arrive_and_wait();
  end_.arrive_and_wait();
  if (failed_) std::rethrow_exception(failed_);
}

void ThreadTeam::serve(std::size_t thread) {
  for (;;) {
    begin_.arrive_and_wait();
    if (job_ == nullptr) return;
    try {
      (*job_)(thread);
    } catch (...) {
      const std::lock_guard lock(failed_mutex_);
      if (!failed_) failed_ = std::current_exception();
    }
    end_.arrive_and_wait();
  }
}

void ThreadTeam::together() {
  constexpr int kSpins = 100'000;  // where threads outnumber processors, the others have to be let in
  const std::size_t meeting = meetings_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == cpus_.size()) {
    arrived_.store(0, std::memory_order_relaxed);
    meetings_.store(meeting + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; meetings_.load(std::memory_order_acquire) == meeting; ++spins) {
    if (spins > kSpins) std::this_thread::yield();
  }
}

}  // namespace pyperf
