// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "check.hpp"
#include "fake_driver.hpp"
#include "fakes.hpp"
#include "gpu/graph.hpp"
#include "gpu/stream_loop.hpp"

// What the tests of csrc/gpu share: a GPU without real time, and work whose every call a test scripts.
namespace pyperf::test {

constexpr std::int64_t kPollNs = 100;
constexpr std::int64_t kLongNs = 60'000'000'000;  // real time that no test waits for

// A GPU of the fake driver. Calls and records take no time and events are exact, so that only work and the polling of
// what is not done move the clock. Make it before, and let it go after, what uses it.
struct FakeGpu {
  explicit FakeGpu(int ordinal = 0) : context(std::make_shared<gpu::Context>(cuda, ordinal)) {
    driver.call_cost(nullptr, 0);
    driver.record_cost(0);
    driver.event_tick(1);
    driver.poll_step(kPollNs);
  }

  FakeDriver driver;
  const gpu::Driver& cuda = gpu::Driver::load(fake_cuda_path());
  std::shared_ptr<gpu::Context> context;
};

// Everything that the code under test made is gone, but for the contexts.
inline void check_all_freed(const FakeDriver& driver) {
  for (const char* what : {"streams", "events", "device_bytes", "host_bytes"}) {
    if (driver.live(what) != 0)
      fail(what, 0, std::string(what) + ": " + std::to_string(driver.live(what)) + " live on");
  }
}

// The names of the calls since log(true), without those that make a context current.
inline std::string calls_of(const FakeDriver& driver) {
  std::string calls;
  std::string name;
  for (const char letter : driver.text_of_log()) {
    if (letter != '\n') {
      name += letter;
      continue;
    }
    if (!name.starts_with("cuCtx")) calls.append(calls.empty() ? "" : " ").append(name);
    name.clear();
  }
  return calls;
}

// Work on a stream of its own whose calls take what a test says. `before` is called inside of submit with the number of
// the call, before it queues anything.
class ScriptedWork {
 public:
  static constexpr bool kNeedsPython = false;

  ScriptedWork(FakeGpu& gpu, Duration duration) : ScriptedWork(gpu.driver, gpu.context, std::move(duration)) {}
  ScriptedWork(FakeDriver& driver, std::shared_ptr<gpu::Context> context, Duration duration)
      : driver_(driver), stream_(std::move(context)), duration_(std::move(duration)) {}

  struct BatchScope {
    explicit BatchScope(ScriptedWork& work) : work(work) { ++work.scopes; }
    ~BatchScope() { --work.scopes; }
    ScriptedWork& work;
  };

  const gpu::StreamView& stream() const { return stream_.view(); }
  CUstream handle() const { return stream_.view().handle(); }
  void h2d() { queue(h2d_ns); }
  void d2h() { queue(d2h_ns); }
  void submit() {
    if (before) before(calls);
    unsettled = true;
    queue(duration_(calls));
    ++calls;
  }
  void settle() {
    if (unsettled) ++settled;
    unsettled = false;
  }

  std::function<void(std::int64_t call)> before;
  std::int64_t h2d_ns = 0;
  std::int64_t d2h_ns = 0;
  std::int64_t calls = 0;
  std::int64_t settled = 0;
  std::int64_t scopes = 0;  // that there are now
  bool unsettled = false;

 private:
  void queue(std::int64_t ns) { stream_.view().context().check(driver_.enqueue(handle(), ns), "fake_enqueue"); }

  FakeDriver& driver_;
  gpu::OwnedStream stream_;
  Duration duration_;
};

using ScriptedLoop = gpu::StreamLoop<ScriptedWork, FakeDriverClock>;

inline gpu::StreamPlan plan_with(gpu::Wait wait = gpu::Wait::kSpin, std::int64_t gate_timeout_ns = kLongNs) {
  gpu::StreamPlan plan;
  plan.wait = wait;
  plan.gate_timeout_ns = gate_timeout_ns;
  plan.timeout_ns = 2 * kLongNs;
  return plan;
}

// Samples of a loop, by column and row.
struct Table {
  Table(std::size_t rows, std::size_t columns) : rows(rows), values(rows * columns, -1) {}

  Rows all() { return {values.data(), rows, rows}; }
  std::vector<std::int64_t> column(std::size_t index) const {
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(index * rows);
    return {first, first + static_cast<std::ptrdiff_t>(rows)};
  }

  std::size_t rows;
  std::vector<std::int64_t> values;
  std::int64_t done = 77;
};

using Column = std::vector<std::int64_t>;

inline std::string text_of(const Column& values) {
  std::string text;
  for (const auto value : values) text.append(text.empty() ? "" : " ").append(std::to_string(value));
  return text;
}

#define CHECK_COLUMN(got, ...) CHECK_EQUAL(text_of(got), text_of(Column __VA_ARGS__))

// What an expression threw; "" and a failed check where it threw nothing, or something else.
template <class Exception, class Body>
std::string message_of(Body body) {
  try {
    body();
  } catch (const Exception& error) {
    return error.what();
  } catch (const std::exception& error) {
    fail("message_of", 0, std::string("threw another exception: ") + error.what());
    return "";
  }
  fail("message_of", 0, "nothing was thrown");
  return "";
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

inline void check_has(const char* file, int line, const std::string& text, const std::string& part) {
  if (!has(text, part)) fail(file, line, "'" + text + "' lacks '" + part + "'");
}

#define CHECK_HAS(text, part) ::pyperf::test::check_has(__FILE__, __LINE__, text, part)

}  // namespace pyperf::test
