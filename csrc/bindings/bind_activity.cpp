// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include "bindings/bindings.hpp"
#include "core/activity.hpp"

namespace pyperf::bindings {

void bind_activity(py::module_& module) {
  py::class_<Activity>(module, "Activity")
      .def_readonly("wall_ns", &Activity::wall_ns)
      .def_readonly("user_cpu_ns", &Activity::user_cpu_ns)
      .def_readonly("system_cpu_ns", &Activity::system_cpu_ns)
      .def_readonly("voluntary_switches", &Activity::voluntary_switches)
      .def_readonly("involuntary_switches", &Activity::involuntary_switches)
      .def_readonly("minor_faults", &Activity::minor_faults)
      .def_readonly("major_faults", &Activity::major_faults)
      .def_readonly("steal_ns", &Activity::steal_ns)
      .def_readonly("machine_busy_ns", &Activity::machine_busy_ns)
      .def_readonly("throttled_ns", &Activity::throttled_ns)
      .def_readonly("throttled_periods", &Activity::throttled_periods)
      .def_readonly("frequency_mhz_min", &Activity::frequency_mhz_min)
      .def_readonly("frequency_mhz_max", &Activity::frequency_mhz_max)
      .def("__sub__", [](const Activity& end, const Activity& begin) { return end - begin; });
  module.def("take_activity_snapshot", &take_activity_snapshot, py::arg("root") = "");
}

}  // namespace pyperf::bindings
