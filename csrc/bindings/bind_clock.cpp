// SPDX-License-Identifier: Apache-2.0
#include "bindings/bindings.hpp"
#include "core/clock.hpp"

namespace pyperf::bindings {

void bind_clock(py::module_& module) {
  py::class_<ClockProperties>(module, "ClockProperties")
      .def_readonly("step_ns", &ClockProperties::step_ns)
      .def_readonly("read_cost_ns", &ClockProperties::read_cost_ns)
      .def_readonly("overhead_ns", &ClockProperties::overhead_ns)
      .def_property_readonly("name", [](const ClockProperties&) { return SteadyClock::kName; });
  module.def("measure_steady_clock", &measure_steady_clock, py::call_guard<py::gil_scoped_release>());
  module.def("now_ns", &SteadyClock::now_ns);
}

}  // namespace pyperf::bindings
