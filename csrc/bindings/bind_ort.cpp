// SPDX-License-Identifier: Apache-2.0
#include "bindings/gpu_objects.hpp"
#include "bindings/ort_arrays.hpp"
#include "ort/assignment.hpp"
#include "ort/io_binding.hpp"

namespace pyperf::bindings {
namespace {

class OrtTarget final : public Target {
 public:
  explicit OrtTarget(std::shared_ptr<ort::Session> session) : binding_(std::move(session)) {}
  Runner& runner() override { return runner_; }
  ort::IoBinding& binding() { return binding_; }

 private:
  ort::IoBinding binding_;
  LoopOver<ort::IoBinding> runner_{binding_};
};

std::shared_ptr<ort::Session> make_session(const std::string& library, const std::string& model,
                                           const ort::SessionOptions& options) {
  const py::gil_scoped_release release;
  return std::make_shared<ort::Session>(ort::Environment::load(library), model, options);
}

void bind_input(OrtTarget& target, const std::string& name, const py::array& array) {
  const OneUser::Hold hold(target);
  bind_input_array(target.binding(), name, array);
}

std::vector<OutputArray> outputs(OrtTarget& target) {
  const OneUser::Hold hold(target);
  return output_arrays(target.binding());
}

void bind_outputs(OrtTarget& target) {
  const OneUser::Hold hold(target);
  const py::gil_scoped_release release;
  target.binding().bind_outputs();
}

void run(OrtTarget& target) {
  const OneUser::Hold hold(target);
  const py::gil_scoped_release release;
  target.binding().submit();
}

void set_stream(ort::SessionOptions& options, std::shared_ptr<GpuStream> stream) {
  if (stream == nullptr) {
    options.stream = nullptr;
    return;
  }
  const gpu::StreamView* view = &stream->view();
  options.stream = {std::move(stream), view};
}

void bind_sessions(py::module_& module) {
  py::class_<ort::TensorInfo>(module, "OrtTensorInfo")
      .def_readonly("name", &ort::TensorInfo::name)
      .def_readonly("is_tensor", &ort::TensorInfo::is_tensor)
      .def_readonly("shape", &ort::TensorInfo::shape)
      .def_readonly("symbols", &ort::TensorInfo::symbols)
      .def_property_readonly("element_type",
                             [](const ort::TensorInfo& info) { return ort::name_of(info.element_type); });
  py::class_<ort::SessionOptions>(module, "OrtSessionOptions")
      .def(py::init<>())
      .def_readwrite("intra_op_threads", &ort::SessionOptions::intra_op_threads)
      .def_readwrite("inter_op_threads", &ort::SessionOptions::inter_op_threads)
      .def_readwrite("optimization_level", &ort::SessionOptions::optimization_level)
      .def_readwrite("execution_mode", &ort::SessionOptions::execution_mode)
      .def_readwrite("provider", &ort::SessionOptions::provider)
      .def_readwrite("provider_options", &ort::SessionOptions::provider_options)
      .def_readwrite("config_entries", &ort::SessionOptions::config_entries)
      .def("set_stream", &set_stream, py::arg("stream").none(true))
      .def_readwrite("profile_prefix", &ort::SessionOptions::profile_prefix)
      .def_readwrite("optimized_model_path", &ort::SessionOptions::optimized_model_path);
  py::class_<ort::Session, std::shared_ptr<ort::Session>>(module, "OrtSession")
      .def(py::init(&make_session), py::arg("library"), py::arg("model"), py::arg("options"))
      .def_property_readonly("inputs", &ort::Session::inputs)
      .def_property_readonly("outputs", &ort::Session::outputs)
      .def_property_readonly("create_ns", &ort::Session::create_ns)
      .def_property_readonly("effective_provider_options", &ort::Session::effective_provider_options)
      .def("end_profiling", &ort::Session::end_profiling)
      .def("assigned_nodes", [](const ort::Session& session) {
        std::vector<std::tuple<std::string, std::string, std::string>> nodes;
        for (auto& node : ort::assigned_nodes(session)) nodes.emplace_back(node.provider, node.op_type, node.name);
        return nodes;
      });
}

}  // namespace

void bind_ort(py::module_& module) {
  module.attr("ORT_OLDEST_API") = ort::kOldestApi;
  module.attr("ORT_ASSIGNMENT_API") = ort::kAssignmentApi;
  module.attr("ORT_RECORD_ASSIGNMENT") = ort::kRecordAssignment;
  py::class_<ort::Environment, std::unique_ptr<ort::Environment, py::nodelete>>(module, "OrtEnvironment")
      .def_property_readonly("version", &ort::Environment::version)
      .def_property_readonly("path", &ort::Environment::path)
      .def_property_readonly("api_version", [](const ort::Environment& self) { return self.api().version(); })
      .def_property_readonly("available_providers", &ort::Environment::available_providers)
      .def("take_log", &ort::Environment::take_log);
  module.def("load_ort", &ort::Environment::load, py::arg("library"), py::return_value_policy::reference,
             py::call_guard<py::gil_scoped_release>());
  bind_sessions(module);
  py::class_<OrtTarget, Target, std::shared_ptr<OrtTarget>>(module, "OrtTarget")
      .def(py::init<std::shared_ptr<ort::Session>>(), py::arg("session").none(false))
      .def("bind_input", &bind_input, py::arg("name"), py::arg("array"))
      .def("bind_outputs", &bind_outputs)
      .def("run", &run)
      .def("outputs", &outputs)
      .def_property_readonly("first_run_ns", [](OrtTarget& target) { return target.binding().first_run_ns(); })
      .def_property_readonly("unbound_outputs", [](OrtTarget& target) { return target.binding().unbound_outputs(); });
}

}  // namespace pyperf::bindings
