// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "ceilings/thread_team.hpp"
#include "core/checkpoint.hpp"

namespace pyperf {

// Memory for every thread of a team, of pages that the thread itself wrote to first, so that they lie near to it, and
// huge ones where the system gives them.
class StreamMemory {
 public:
  // `bytes` a thread, filled in pieces with the checkpoint in between, which may throw; where it asks to stop, the rest
  // stays zeros. Throws UsageError where `bytes` are less than one page, OutOfMemoryError where there is no room.
  StreamMemory(ThreadTeam& team, std::size_t bytes, Checkpoint& checkpoint);

  std::size_t bytes() const { return bytes_; }  // a thread
  std::size_t threads() const { return starts_.size(); }
  double* of(std::size_t thread) const { return starts_[thread]; }

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(void* mapping) const;
  };

  std::size_t bytes_;
  std::vector<std::unique_ptr<void, Unmap>> mappings_;
  std::vector<double*> starts_;
};

}  // namespace pyperf
