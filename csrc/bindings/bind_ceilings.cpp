// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>

#include "bindings/bindings.hpp"
#include "ceilings/core_clock.hpp"
#include "ceilings/measure_ceiling.hpp"

namespace pyperf::bindings {
namespace {

constexpr Precision kPrecisions[] = {Precision::kFloat64, Precision::kFloat32, Precision::kBfloat16,
                                     Precision::kFloat16, Precision::kInt8};

Pattern pattern_named(const std::string& name) {
  for (const auto pattern : {Pattern::kLoad, Pattern::kCopy, Pattern::kTriad}) {
    if (name == name_of(pattern)) return pattern;
  }
  throw UsageError("there is no pattern " + name + " of a stream; there are load, copy and triad");
}

ComputeKernel kernel_named(const std::string& precision, const std::string& instructions) {
  for (const auto one : kPrecisions) {
    if (precision != name_of(one)) continue;
    for (const auto& kernel : compute_kernels(detected_features(), one)) {
      if (instructions == kernel.instructions) return kernel;
    }
  }
  throw UsageError("this processor has no kernel for " + precision + " by " + instructions);
}

// A team of threads with the memory that it streams through.
class CeilingThreads : public OneUser {
 public:
  explicit CeilingThreads(std::vector<int> cpus) : team_(std::move(cpus)) {}

  std::size_t size() const { return team_.size(); }

  std::vector<std::pair<double, double>> compute(const std::string& precision, const std::string& instructions,
                                                 std::int64_t window_ns, int runs) {
    const OneUser::Hold hold(*this);
    const ComputeKernel kernel = kernel_named(precision, instructions);
    PythonCheckpoint checkpoint{ProgressFunction(py::none())};
    const py::gil_scoped_release release;
    std::vector<std::pair<double, double>> results;
    for (const auto& run : measure_compute(team_, kernel, {window_ns, runs}, checkpoint)) {
      results.emplace_back(run.work_per_s, run.clock_hz);
    }
    return results;
  }

  void allocate(std::size_t bytes) {
    const OneUser::Hold hold(*this);
    PythonCheckpoint checkpoint{ProgressFunction(py::none())};
    const py::gil_scoped_release release;
    memory_.reset();
    if (bytes > 0) memory_.emplace(team_, bytes, checkpoint);
  }

  std::vector<double> stream(const std::string& pattern, std::size_t bytes, bool non_temporal, std::int64_t window_ns,
                             int runs) {
    const OneUser::Hold hold(*this);
    const Pattern which = pattern_named(pattern);
    if (!memory_) throw UsageError("streams need memory first: allocate()");
    PythonCheckpoint checkpoint{ProgressFunction(py::none())};
    const py::gil_scoped_release release;
    std::vector<double> results;
    const StreamKernels& kernels = stream_kernels(detected_features());
    for (const auto& run :
         measure_stream(team_, *memory_, kernels, which, non_temporal, bytes, {window_ns, runs}, checkpoint)) {
      results.push_back(run.work_per_s);
    }
    return results;
  }

  // Of the first thread's core: by additions, and by multiplications.
  std::pair<double, double> clock(std::int64_t window_ns) {
    const OneUser::Hold hold(*this);
    const py::gil_scoped_release release;
    std::pair<double, double> hz;
    team_.run([&](std::size_t thread) {
      if (thread == 0) hz = {clock_by_additions_hz(window_ns), clock_by_multiplications_hz(window_ns)};
    });
    return hz;
  }

 private:
  ThreadTeam team_;
  std::optional<StreamMemory> memory_;
};

}  // namespace

void bind_ceilings(py::module_& module) {
  module.attr("STREAM_GRAIN_BYTES") = kStreamGrainBytes;
  py::class_<CeilingThreads, std::shared_ptr<CeilingThreads>>(module, "CeilingThreads")
      .def(py::init<std::vector<int>>(), py::arg("cpus"), py::call_guard<py::gil_scoped_release>())
      .def("__len__", &CeilingThreads::size)
      .def("compute", &CeilingThreads::compute, py::arg("precision"), py::arg("instructions"), py::arg("window_ns"),
           py::arg("runs"), "One (operations a second, clock in Hz) a run.")
      .def("allocate", &CeilingThreads::allocate, py::arg("bytes"), "Memory of each thread; 0 gives it back.")
      .def("stream", &CeilingThreads::stream, py::arg("pattern"), py::arg("bytes"), py::arg("non_temporal"),
           py::arg("window_ns"), py::arg("runs"), "Bytes a second of each run; `bytes` are those of each thread.")
      .def("clock", &CeilingThreads::clock, py::arg("window_ns"),
           "The first thread's clock in Hz, by dependent additions and by dependent multiplications.");
  module.def(
      "ceiling_kernels",
      [] {
        std::vector<std::pair<std::string, std::string>> names;
        for (const auto precision : kPrecisions) {
          for (const auto& kernel : compute_kernels(detected_features(), precision)) {
            names.emplace_back(name_of(precision), kernel.instructions);
          }
        }
        return names;
      },
      "(precision, instructions) of every kernel that this processor runs.");
  module.def(
      "stream_instructions", [] { return std::string(stream_kernels(detected_features()).instructions); },
      "The vectors that streams load and store.");
}

}  // namespace pyperf::bindings
