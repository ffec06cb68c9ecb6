// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <utility>

#include "bindings/held_binding.hpp"
#include "bindings/ort_arrays.hpp"
#include "ort/device_binding.hpp"

namespace pyperf::bindings {
namespace {

using OrtBinding = HeldBinding<ort::DeviceBinding>;

std::shared_ptr<OrtBinding> make_binding(std::shared_ptr<ort::Session> session, bool transfers, bool captures,
                                         std::int64_t timeout_ns) {
  const py::gil_scoped_release release;
  return std::make_shared<OrtBinding>(std::move(session),
                                      ort::DeviceBinding::Plan{transfers, captures, timeout_ns, &let_ctrl_c_in});
}

// A method of the binding, without the GIL and with nobody else at it.
template <class Result>
auto exclusively(Result (ort::DeviceBinding::*method)()) {
  return [method](OrtBinding& held) -> Result {
    const OrtBinding::Use use(held);
    const py::gil_scoped_release release;
    return (held.binding().*method)();
  };
}

}  // namespace

void bind_ort_gpu(py::module_& module) {
  py::class_<OrtBinding, std::shared_ptr<OrtBinding>>(module, "OrtDeviceBinding")
      .def(py::init(&make_binding), py::arg("session").none(false), py::kw_only(), py::arg("transfers") = false,
           py::arg("captures") = false, py::arg("timeout_ns") = gpu::StreamPlan{}.timeout_ns)
      .def(
          "bind_input",
          [](OrtBinding& held, const std::string& name, const py::array& array) {
            const OrtBinding::Use use(held);
            bind_input_array(held.binding(), name, array);
          },
          py::arg("name"), py::arg("array"))
      .def("bind_outputs", exclusively(&ort::DeviceBinding::bind_outputs))
      .def("run",
           [](OrtBinding& held) {
             const OrtBinding::Use use(held);
             const py::gil_scoped_release release;
             held.binding().submit();
             held.binding().finish();
           })
      .def("outputs",
           [](OrtBinding& held) {
             const OrtBinding::Use use(held);
             return output_arrays(held.binding());
           })
      .def("poison_outputs", exclusively(&ort::DeviceBinding::poison_outputs))
      .def_property_readonly("addresses", [](OrtBinding& held) { return held.binding().addresses(); })
      .def_property_readonly("first_run_ns", [](OrtBinding& held) { return held.binding().first_run_ns(); })
      .def_property_readonly("host_outputs", [](OrtBinding& held) { return held.binding().host_outputs(); })
      .def_property_readonly("unbound_outputs", [](OrtBinding& held) { return held.binding().unbound_outputs(); });
  using OrtStreamTarget = BindingsTarget<OrtBinding>;
  py::class_<OrtStreamTarget, StreamTarget, std::shared_ptr<OrtStreamTarget>>(module, "OrtStreamTarget")
      .def(py::init(&OrtStreamTarget::make), py::arg("bindings"), py::arg("plan"));
}

}  // namespace pyperf::bindings
