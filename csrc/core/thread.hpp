// SPDX-License-Identifier: Apache-2.0
#pragma once

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

}  // namespace pyperf
