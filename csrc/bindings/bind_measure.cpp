// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/bindings.hpp"
#include "bindings/modes.hpp"
#include "core/cache_flush.hpp"
#include "core/error.hpp"
#include "core/measure.hpp"
#include "core/warmup.hpp"

namespace pyperf::bindings {
namespace {

constexpr std::int64_t kBetweenCheckpointsNs = 100'000'000;

const char* name_of(Phase phase) {
  switch (phase) {
    case Phase::kWarmup:
      return "warm-up";
    case Phase::kMeasure:
      return "measure";
    case Phase::kSchedule:
      return "interleave";
  }
  return "unknown";
}

// No copy: a read-only view of what is measured so far, which the array keeps alive.
py::array_t<std::int64_t> as_array(const SampleBuffer& samples, std::size_t column) {
  using Snapshot = decltype(samples.snapshot());
  auto snapshot = std::make_unique<Snapshot>(samples.snapshot(column));
  const auto& view = **snapshot;
  const py::capsule keeper(snapshot.get(), [](void* kept) { delete static_cast<Snapshot*>(kept); });
  py::array_t<std::int64_t> array(static_cast<py::ssize_t>(view.size()), view.data(), keeper);
  snapshot.release();
  array.attr("flags").attr("writeable") = false;
  return array;
}

py::array_t<std::int64_t> column_named(const SampleBuffer& samples, const std::string& name) {
  const auto quantities = samples.quantities();
  for (std::size_t i = 0; i < quantities.size(); ++i) {
    if (name == name_of(quantities[i])) return as_array(samples, i);
  }
  throw UsageError("these samples hold no '" + name + "'");
}

}  // namespace

bool PythonCheckpoint::pass(const Progress& progress) {
  const std::int64_t now_ns = SteadyClock::now_ns();
  if (now_ns - last_ns_ < kBetweenCheckpointsNs) return true;
  last_ns_ = now_ns;
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  if (!progress_.is_none()) {
    progress_(name_of(progress.phase), progress.calls, progress.elapsed_ns, progress.budget_ns, progress.last_ns);
  }
  return true;
}

void bind_measure(py::module_& module) {
  py::class_<SampleBuffer, std::shared_ptr<SampleBuffer>>(module, "Samples")
      .def(py::init<>())
      .def("__len__", [](const SampleBuffer& samples) { return samples.snapshot()->size(); })
      .def_property_readonly("ns", [](const SampleBuffer& samples) { return as_array(samples, 0); })
      .def_property_readonly("columns",
                             [](const SampleBuffer& samples) {
                               std::vector<std::string> names;
                               for (const auto quantity : samples.quantities()) names.emplace_back(name_of(quantity));
                               return names;
                             })
      .def("column", &column_named, py::arg("name"));
  py::class_<CacheFlush, std::shared_ptr<CacheFlush>>(module, "CacheFlush")
      .def(py::init([](const std::vector<std::pair<int, std::size_t>>& shares) {
             std::vector<CacheFlush::Share> places;
             for (const auto& [cpu, bytes] : shares) places.push_back({cpu, bytes});
             const py::gil_scoped_release release;
             return std::make_shared<CacheFlush>(std::move(places));
           }),
           py::arg("shares"))
      .def_property_readonly("bytes", &CacheFlush::bytes)
      .def("flush", &CacheFlush::flush, py::call_guard<py::gil_scoped_release>());

  py::class_<WarmupOutcome>(module, "WarmupOutcome")
      .def_readonly("calls", &WarmupOutcome::calls)
      .def_readonly("duration_ns", &WarmupOutcome::duration_ns)
      .def_readonly("first_call_ns", &WarmupOutcome::first_call_ns)
      .def_readonly("steady", &WarmupOutcome::steady)
      .def_property_readonly("samples_ns", [](const WarmupOutcome& outcome) {
        return py::array_t<std::int64_t>(static_cast<py::ssize_t>(outcome.samples_ns.size()),
                                         outcome.samples_ns.data());
      });
  module.def(
      "warm_up",
      [](Target& target, std::int64_t min_calls, std::int64_t budget_ns, const std::string& mode,
         ProgressFunction progress) {
        const WarmupPlan plan{min_calls, budget_ns, mode_named(mode)};
        const OneUser::Hold hold(target);
        PythonCheckpoint checkpoint(std::move(progress));
        const py::gil_scoped_release release;
        return warm_up(target.runner(), plan, checkpoint);
      },
      py::arg("target"), py::kw_only(), py::arg("min_calls") = WarmupPlan{}.min_calls,
      py::arg("budget_ns") = WarmupPlan{}.budget_ns, py::arg("mode") = "latency", py::arg("progress") = py::none());

  py::class_<StopPlan>(module, "StopPlan")
      .def(py::init([](std::int64_t min_samples, std::int64_t min_duration_ns, std::int64_t max_duration_ns,
                       std::int64_t max_samples, double relative_half_width, double confidence,
                       std::int64_t clock_step_ns, double quantile) {
             const StopPlan plan{min_samples,         min_duration_ns, max_duration_ns, max_samples,
                                 relative_half_width, confidence,      clock_step_ns,   quantile};
             check(plan);
             return plan;
           }),
           py::kw_only(), py::arg("min_samples") = StopPlan{}.min_samples,
           py::arg("min_duration_ns") = StopPlan{}.min_duration_ns,
           py::arg("max_duration_ns") = StopPlan{}.max_duration_ns, py::arg("max_samples") = StopPlan{}.max_samples,
           py::arg("relative_half_width") = StopPlan{}.relative_half_width,
           py::arg("confidence") = StopPlan{}.confidence, py::arg("clock_step_ns") = StopPlan{}.clock_step_ns,
           py::arg("quantile") = StopPlan{}.quantile)
      .def_readonly("min_samples", &StopPlan::min_samples)
      .def_readonly("min_duration_ns", &StopPlan::min_duration_ns)
      .def_readonly("max_duration_ns", &StopPlan::max_duration_ns)
      .def_readonly("max_samples", &StopPlan::max_samples)
      .def_readonly("relative_half_width", &StopPlan::relative_half_width)
      .def_readonly("confidence", &StopPlan::confidence)
      .def_readonly("clock_step_ns", &StopPlan::clock_step_ns)
      .def_readonly("quantile", &StopPlan::quantile);
  py::class_<Replay>(module, "Replay")
      .def_readonly("count", &Replay::count)
      .def_property_readonly("reason", [](const Replay& outcome) { return name_of(outcome.reason); })
      .def_readonly("looks", &Replay::looks);
  module.def(
      "replay_stop_rule",
      [](const py::array_t<std::int64_t, py::array::c_style>& samples, const StopPlan& plan) {
        const std::span taken(samples.data(), static_cast<std::size_t>(samples.size()));
        const py::gil_scoped_release release;
        return replay(taken, plan);
      },
      py::arg("samples_ns"), py::arg("plan"));
  py::class_<MeasureOutcome>(module, "MeasureOutcome")
      .def_property_readonly("reason", [](const MeasureOutcome& outcome) { return name_of(outcome.reason); })
      .def_readonly("looks", &MeasureOutcome::looks)
      .def_readonly("looks_ns", &MeasureOutcome::looks_ns)
      .def_readonly("relative_half_width", &MeasureOutcome::relative_half_width)
      .def_readonly("duration_ns", &MeasureOutcome::duration_ns);
  // What is measured before an error or Ctrl-C stays in `samples`.
  module.def(
      "measure",
      [](Target& target, const StopPlan& plan, SampleBuffer& samples, const std::string& mode,
         const std::optional<std::shared_ptr<CacheFlush>>& flush, ProgressFunction progress) {
        const Mode chosen = mode_named(mode);
        const OneUser::Hold hold_target(target);
        const OneUser::Hold hold_samples(samples);
        target.runner().flush_with(flush ? flush->get() : nullptr);
        PythonCheckpoint checkpoint(std::move(progress));
        const py::gil_scoped_release release;
        return measure(target.runner(), chosen, plan, samples, checkpoint);
      },
      py::arg("target"), py::arg("plan"), py::arg("samples"), py::kw_only(), py::arg("mode") = "latency",
      py::arg("flush") = py::none(), py::arg("progress") = py::none());
  // One batch and nothing around it, to look at the loop itself.
  module.def(
      "run_batch",
      [](Target& target, SampleBuffer& samples, std::int64_t calls) {
        const OneUser::Hold hold_target(target);
        const OneUser::Hold hold_samples(samples);
        const py::gil_scoped_release release;
        run_batch(target.runner(), Mode::kLatency, calls, samples);
      },
      py::arg("target"), py::arg("samples"), py::arg("calls"));
  module.def(
      "run_batched",
      [](Target& target, std::int64_t calls) {
        if (calls < 1) throw UsageError("a batch has at least one call");
        const OneUser::Hold hold(target);
        const py::gil_scoped_release release;
        return target.runner().batched(calls);
      },
      py::arg("target"), py::arg("calls"));
}

}  // namespace pyperf::bindings
