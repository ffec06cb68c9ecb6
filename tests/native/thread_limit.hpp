// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace pyperf::test {

// While it lives, so many threads can be started, and after them none, as at a limit of processes.
class ThreadLimit {
 public:
  explicit ThreadLimit(int threads);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;
};

}  // namespace pyperf::test
