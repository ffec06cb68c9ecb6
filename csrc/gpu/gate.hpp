// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "gpu/memory.hpp"
#include "gpu/stream.hpp"

namespace pyperf::gpu {

// Holds a stream back until everything is queued behind it, so that the GPU then runs it without waiting for the host.
//
// The stream waits (cuStreamWaitValue32) for a word in pinned host memory. A submit may itself block behind the gate
// (a module that is loaded lazily, an allocation, a read of a result, a full queue), and would wait for ever: a
// watchdog thread opens the gate at a timeout, by writing the word and without any call of the driver, whose locks the
// blocked submit may hold. Such a sample is worth nothing, and open() says so.
class Gate {
 public:
  // Throws MeasurementError or OutOfMemoryError where the word cannot be had.
  Gate(std::shared_ptr<Context> context, std::int64_t timeout_ns);
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  // Whether the device can wait for a word at all; queues a wait that is over already.
  bool works_on(CUstream stream);

  // Queues the wait on the stream and starts the watchdog's clock. Its context is current.
  void close(CUstream stream);

  // Lets the stream go. False where the watchdog has done so before.
  bool open();

  std::int64_t timeout_ns() const { return timeout_ns_; }

 private:
  // The number of the closing, and whether it is still closed, in one word that both threads change atomically.
  static constexpr std::uint64_t kClosed = 1;
  static std::uint64_t closed(std::uint32_t number) { return (std::uint64_t{number} << 1) | kClosed; }

  std::atomic_ref<std::uint32_t> word() const;
  void write(std::uint32_t number);
  void watch();

  std::shared_ptr<Context> context_;
  std::int64_t timeout_ns_;
  PinnedBuffer memory_;
  CUdeviceptr word_on_device_;
  std::uint32_t number_ = 0;
  std::atomic<std::uint64_t> state_{0};
  std::atomic<std::int64_t> closed_at_ns_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread watchdog_;
};

// A closed gate that opens when this goes, also where something throws in between.
class HeldBack {
 public:
  HeldBack(Gate& gate, CUstream stream) : gate_(gate) { gate_.close(stream); }
  ~HeldBack() {
    if (!released_) gate_.open();
  }
  HeldBack(const HeldBack&) = delete;
  HeldBack& operator=(const HeldBack&) = delete;

  // As Gate::open.
  bool release() {
    released_ = true;
    return gate_.open();
  }

 private:
  Gate& gate_;
  bool released_ = false;
};

}  // namespace pyperf::gpu
