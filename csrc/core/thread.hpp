// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pthread.h>
#include <sched.h>

#include <cstddef>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "core/error.hpp"

namespace pyperf {

// A thread that runs `body`; throws MeasurementError where the system gives none, as at a limit of processes.
template <class Body>
std::thread start_thread(Body body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    throw MeasurementError(std::string("the system starts no further thread (") + error.what() +
                           "); look at the limits of processes and memory (ulimit -u, ulimit -v, pids.max)");
  }
}

// Whether a processor can have this number.
inline bool is_cpu(int cpu) { return cpu >= 0 && cpu < CPU_SETSIZE; }

// Keeps the calling thread to a processor; false where the kernel does not allow it (a container's mask): the thread
// then runs where it may.
inline bool keep_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

}  // namespace pyperf
