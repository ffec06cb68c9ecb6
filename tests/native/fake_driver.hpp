// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "../helpers/fake_cuda/fake_cuda.h"

// The fake driver of tests/helpers/fake_cuda, which the code under test loads as its libcuda.
namespace pyperf::test {

// The library that was built with these tests.
inline std::string fake_cuda_path() { return PYPERF_FAKE_CUDA_PATH; }

inline void* fake_cuda_symbol(const char* name) {
  static void* const library = dlopen(PYPERF_FAKE_CUDA_PATH, RTLD_NOW | RTLD_LOCAL);
  void* const symbol = library == nullptr ? nullptr : dlsym(library, name);
  if (symbol == nullptr) throw std::runtime_error(std::string("no ") + name + " in " PYPERF_FAKE_CUDA_PATH);
  return symbol;
}

// The controls, as fake_cuda.h documents them: driver.advance(5) is fake_advance(5). The driver is reset when this is
// made and when it goes, so make it before what uses the driver.
class FakeDriver {
 public:
  FakeDriver() { reset(); }
  ~FakeDriver() { reset(); }
  FakeDriver(const FakeDriver&) = delete;
  FakeDriver& operator=(const FakeDriver&) = delete;

#define PYPERF_FAKE(name) \
  const decltype(&::fake_##name) name = reinterpret_cast<decltype(&::fake_##name)>(fake_cuda_symbol("fake_" #name));
  PYPERF_FAKE(reset)
  PYPERF_FAKE(forget_init)
  PYPERF_FAKE(now_ns)
  PYPERF_FAKE(advance)
  PYPERF_FAKE(call_cost)
  PYPERF_FAKE(poll_step)
  PYPERF_FAKE(record_cost)
  PYPERF_FAKE(event_tick)
  PYPERF_FAKE(memory_bandwidth)
  PYPERF_FAKE(transfer_bandwidth)
  PYPERF_FAKE(clock_drop)
  PYPERF_FAKE(slow_first_launch)
  PYPERF_FAKE(free_waits)
  PYPERF_FAKE(sync_inside_launch)
  PYPERF_FAKE(block_submit_behind_gate)
  PYPERF_FAKE(queue_limit)
  PYPERF_FAKE(graph_create)
  PYPERF_FAKE(graph_destroy)
  PYPERF_FAKE(graph_durations)
  PYPERF_FAKE(graph_copy)
  PYPERF_FAKE(graph_fault)
  PYPERF_FAKE(enqueue)
  PYPERF_FAKE(pending)
  PYPERF_FAKE(fail)
  PYPERF_FAKE(fail_from)
  PYPERF_FAKE(device_lost)
  PYPERF_FAKE(hang)
  PYPERF_FAKE(unhang)
  PYPERF_FAKE(hide)
  PYPERF_FAKE(driver_version)
  PYPERF_FAKE(device_count)
  PYPERF_FAKE(device_name)
  PYPERF_FAKE(device_attribute)
  PYPERF_FAKE(device_memory)
  PYPERF_FAKE(memory_limit)
  PYPERF_FAKE(live)
  PYPERF_FAKE(calls)
  PYPERF_FAKE(log)
  PYPERF_FAKE(log_text)
#undef PYPERF_FAKE

  // Names of the calls since log(true), one a line.
  std::string text_of_log() const {
    std::string text(log_text(nullptr, 0), '\0');
    log_text(text.data(), text.size() + 1);
    return text;
  }
};

// The fake driver's clock, as a Clock of the loop.
struct FakeDriverClock {
  static std::int64_t now_ns() noexcept {
    static const auto read = reinterpret_cast<decltype(&::fake_now_ns)>(fake_cuda_symbol("fake_now_ns"));
    return read();
  }
};

}  // namespace pyperf::test
