// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <barrier>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "core/flush.hpp"

namespace pyperf {

// Empties the caches of every processor that the work may run on: a thread on each streams through memory of its own,
// writing to every line of it. Caches are private to a core, or shared by a few, so that a stream on one processor
// alone would leave the others' caches as they are.
class CacheFlush final : public Flush {
 public:
  struct Share {
    int cpu;            // where it runs
    std::size_t bytes;  // what it streams through: at least twice that processor's part of its largest cache
  };

  // Throws UsageError without any share, OutOfMemoryError where there is no room for the streams, MeasurementError
  // where there is no thread for one.
  explicit CacheFlush(std::vector<Share> shares);
  ~CacheFlush() override;
  CacheFlush(const CacheFlush&) = delete;
  CacheFlush& operator=(const CacheFlush&) = delete;

  // Returns when every stream has been through; of several threads that call it, one after another. Between two calls
  // the streams sleep.
  void flush() override;

  std::size_t bytes() const { return bytes_; }  // of all streams

  // What a stream writes to: the first word of each line counts the flushes. Not to be read during one.
  std::span<const std::uint64_t> memory_of(std::size_t stream) const { return memory_[stream]; }

 private:
  void stop(std::size_t never_started);
  void stream(const Share& share, std::vector<std::uint64_t>& memory);

  std::vector<Share> shares_;
  std::size_t bytes_ = 0;
  std::barrier<> begin_;
  std::barrier<> end_;
  std::mutex one_caller_;  // the barriers count the streams and one more
  bool stop_ = false;      // written before begin_ is passed, read after it
  std::vector<std::vector<std::uint64_t>> memory_;
  std::vector<std::thread> threads_;
};

}  // namespace pyperf
