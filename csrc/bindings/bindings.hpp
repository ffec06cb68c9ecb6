// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>
#include <vector>

#include "bindings/callables.hpp"
#include "core/checkpoint.hpp"
#include "core/error.hpp"
#include "core/loop.hpp"
#include "core/samples.hpp"

namespace pyperf::bindings {

namespace py = pybind11;

// The loop runs without the GIL, so that nothing but this keeps two threads, or a callable that measures itself, from
// using one object at once.
class OneUser {
 public:
  class Hold {
   public:
    explicit Hold(OneUser& held) : held_(held) {
      if (!held_.in_use_.test_and_set(std::memory_order_acquire)) return;
      throw UsageError(
          "this target or these samples are in use already, by another thread or by the very call that is "
          "being measured; make one of its own for each");
    }
    ~Hold() { held_.in_use_.clear(std::memory_order_release); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    OneUser& held_;
  };

 private:
  std::atomic_flag in_use_;
};

// What Python holds: a runner that the loop can take, and whatever it needs to stay alive.
class Target : public OneUser {
 public:
  virtual ~Target() = default;
  virtual Runner& runner() = 0;
};

class SampleBuffer final : public Samples, public OneUser {};

// Lets Ctrl-C and a progress callback in, at most ten times a second. The GIL is not held when the loop calls it.
// Throws what they raise.
class PythonCheckpoint final : public Checkpoint {
 public:
  explicit PythonCheckpoint(ProgressFunction progress) : progress_(std::move(progress)) {}
  bool pass(const Progress& progress) override;

 private:
  ProgressFunction progress_;
  std::int64_t last_ns_ = SteadyClock::now_ns();
};

void bind_activity(py::module_& module);
void bind_aoti(py::module_& module);
void bind_ceilings(py::module_& module);
void bind_clock(py::module_& module);
void bind_errors(py::module_& module);
void bind_gpu(py::module_& module);
void bind_gpu_targets(py::module_& module);
void bind_measure(py::module_& module);
void bind_ort(py::module_& module);
void bind_ort_gpu(py::module_& module);
void bind_schedule(py::module_& module);
void bind_statistics(py::module_& module);
void bind_targets(py::module_& module);

}  // namespace pyperf::bindings
