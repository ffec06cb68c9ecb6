// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "ceilings/thread_team.hpp"

namespace pyperf {

// Memory for every thread of a team, of pages that the thread itself wrote to first, so that they lie near to it, and
// huge ones where the system gives them.
class StreamMemory {
 public:
  // `bytes` a thread. Throws UsageError where that is less than one page, OutOfMemoryError where there is no room.
  StreamMemory(ThreadTeam& team, std::size_t bytes);
  ~StreamMemory();
  StreamMemory(const StreamMemory&) = delete;
  StreamMemory& operator=(const StreamMemory&) = delete;

  std::size_t bytes() const { return bytes_; }  // a thread
  std::size_t threads() const { return starts_.size(); }
  double* of(std::size_t thread) const { return starts_[thread]; }

 private:
  std::size_t bytes_;
  std::size_t mapped_bytes_ = 0;
  std::vector<void*> mappings_;
  std::vector<double*> starts_;
};

}  // namespace pyperf
