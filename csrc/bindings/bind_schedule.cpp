// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <algorithm>
#include <list>
#include <vector>

#include "bindings/bindings.hpp"
#include "core/schedule.hpp"

namespace pyperf::bindings {
namespace {

class Holds {
 public:
  // A target may be named twice: against itself it takes its turns one after the other like any two.
  Target& target(const std::shared_ptr<Target>& target) {
    if (target == nullptr) throw py::type_error("None is neither a target nor samples");
    if (std::ranges::find(targets_, target.get()) == targets_.end()) {
      holds_.emplace_back(*target);
      targets_.push_back(target.get());
    }
    return *target;
  }

  SampleBuffer& samples(const std::shared_ptr<SampleBuffer>& samples) {
    if (samples == nullptr) throw py::type_error("None is neither a target nor samples");
    holds_.emplace_back(*samples);
    return *samples;
  }

 private:
  std::list<OneUser::Hold> holds_;
  std::vector<const Target*> targets_;
};

}  // namespace

void bind_schedule(py::module_& module) {
  py::class_<SchedulePlan>(module, "SchedulePlan")
      .def(py::init([](std::int64_t min_block_calls, std::int64_t min_block_ns, std::int64_t max_jitter_ns,
                       std::int64_t min_rounds, std::int64_t max_duration_ns, double relative_half_width,
                       double confidence, std::uint64_t seed) {
             const SchedulePlan plan{min_block_calls, min_block_ns,        max_jitter_ns, min_rounds,
                                     max_duration_ns, relative_half_width, confidence,    seed};
             check(plan);
             return plan;
           }),
           py::kw_only(), py::arg("min_block_calls") = SchedulePlan{}.min_block_calls,
           py::arg("min_block_ns") = SchedulePlan{}.min_block_ns,
           py::arg("max_jitter_ns") = SchedulePlan{}.max_jitter_ns, py::arg("min_rounds") = SchedulePlan{}.min_rounds,
           py::arg("max_duration_ns") = SchedulePlan{}.max_duration_ns,
           py::arg("relative_half_width") = SchedulePlan{}.relative_half_width,
           py::arg("confidence") = SchedulePlan{}.confidence, py::arg("seed") = SchedulePlan{}.seed);
  py::class_<Block>(module, "Block")
      .def_readonly("round", &Block::round)
      .def_readonly("target", &Block::target)
      .def_readonly("begin", &Block::begin)
      .def_readonly("count", &Block::count)
      .def_readonly("discarded", &Block::discarded)
      .def_readonly("median_ns", &Block::median_ns);
  py::class_<ScheduleOutcome>(module, "ScheduleOutcome")
      .def_property_readonly("reason", [](const ScheduleOutcome& outcome) { return name_of(outcome.reason); })
      .def_readonly("rounds", &ScheduleOutcome::rounds)
      .def_readonly("looks", &ScheduleOutcome::looks)
      .def_readonly("duration_ns", &ScheduleOutcome::duration_ns)
      .def_readonly("half_width", &ScheduleOutcome::half_width)
      .def_readonly("blocks", &ScheduleOutcome::blocks);
  module.def(
      "interleave",
      // By shared_ptr: another thread may empty the list meanwhile.
      [](const std::vector<std::shared_ptr<Target>>& targets, const SchedulePlan& plan,
         const std::vector<std::shared_ptr<SampleBuffer>>& samples, ProgressFunction progress) {
        Holds holds;
        std::vector<Runner*> runners;
        for (const auto& target : targets) runners.push_back(&holds.target(target).runner());
        std::vector<Samples*> into;
        for (const auto& one : samples) into.push_back(&holds.samples(one));
        PythonCheckpoint checkpoint(std::move(progress));
        const py::gil_scoped_release release;
        return interleave(runners, plan, into, checkpoint);
      },
      py::arg("targets"), py::arg("plan"), py::arg("samples"), py::kw_only(), py::arg("progress") = py::none());
}

}  // namespace pyperf::bindings
