// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "core/checkpoint.hpp"
#include "core/loop.hpp"

namespace pyperf::bindings {

namespace py = pybind11;

// What Python holds: a runner that the loop can take, and whatever it needs to stay alive.
class Target {
 public:
  virtual ~Target() = default;
  virtual Runner& runner() = 0;
};

// Lets Ctrl-C and a progress callback in, at most ten times a second. The GIL is not held when the loop calls it.
// Throws what they raise.
class PythonCheckpoint final : public Checkpoint {
 public:
  explicit PythonCheckpoint(py::object progress) : progress_(std::move(progress)) {}
  bool pass(const Progress& progress) override;

 private:
  py::object progress_;
  std::int64_t last_ns_ = SteadyClock::now_ns();
};

void bind_activity(py::module_& module);
void bind_clock(py::module_& module);
void bind_errors(py::module_& module);
void bind_measure(py::module_& module);
void bind_ort(py::module_& module);
void bind_schedule(py::module_& module);
void bind_statistics(py::module_& module);
void bind_targets(py::module_& module);

}  // namespace pyperf::bindings
