// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "aoti/host_call.hpp"
#include "aoti/stream_call.hpp"
#include "bindings/held_binding.hpp"

namespace pyperf::bindings {
namespace {

using Tensors = std::vector<std::shared_ptr<aoti::Blob>>;

// Whoever lets go of the memory last may not have the GIL.
std::shared_ptr<void> kept(py::object owner) {
  return {new py::object(std::move(owner)), [](void* object) {
            const py::gil_scoped_acquire gil;
            delete static_cast<py::object*>(object);
          }};
}

std::shared_ptr<aoti::Blob> make_tensor(std::uintptr_t data, std::vector<std::int64_t> shape,
                                        std::vector<std::int64_t> strides, std::string dtype,
                                        std::optional<int> device_index, py::object keep) {
  auto blob =
      std::make_shared<aoti::Blob>(aoti::Blob{reinterpret_cast<void*>(data), std::move(shape), std::move(strides),
                                              std::move(dtype), device_index, kept(std::move(keep))});
  aoti::check(*blob);
  return blob;
}

std::vector<aoti::Blob> blobs_of(const Tensors& tensors) {
  std::vector<aoti::Blob> blobs;
  for (const auto& tensor : tensors) {
    if (tensor == nullptr) throw InputError("an input is None");
    blobs.push_back(*tensor);
  }
  return blobs;
}

// Name, element type, shape, strides in elements, and the bytes that these reach.
using OutputTuple =
    std::tuple<std::string, std::string, std::vector<std::int64_t>, std::vector<std::int64_t>, py::bytes>;

std::vector<OutputTuple> as_tuples(const std::vector<aoti::OutputCopy>& copies) {
  std::vector<OutputTuple> list;
  for (const auto& [facts, bytes] : copies) {
    list.emplace_back(facts.name, facts.dtype, facts.shape, facts.strides,
                      py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  return list;
}

class AotiTarget final : public Target {
 public:
  using Use = OneUser::Hold;

  explicit AotiTarget(std::shared_ptr<aoti::Model> model) : call_(std::move(model)) {}
  Runner& runner() override { return runner_; }
  aoti::HostCall& binding() { return call_; }

 private:
  aoti::HostCall call_;
  LoopOver<aoti::HostCall> runner_{call_};
};

using AotiStreamBinding = HeldBinding<aoti::StreamCall>;
using AotiStreamTarget = BindingsTarget<AotiStreamBinding>;

// What both have, without the GIL and with nobody else at it.
template <class Held>
void bind(Held& held, const Tensors& inputs) {
  const typename Held::Use use(held);
  const auto blobs = blobs_of(inputs);
  const py::gil_scoped_release release;
  held.binding().bind(blobs);
}

template <class Held>
void run(Held& held) {
  const typename Held::Use use(held);
  const py::gil_scoped_release release;
  held.binding().run_once();
}

template <class Held>
std::vector<OutputTuple> outputs(Held& held) {
  const typename Held::Use use(held);
  std::vector<aoti::OutputCopy> copies;
  {
    const py::gil_scoped_release release;
    copies = held.binding().outputs();
  }
  return as_tuples(copies);
}

std::shared_ptr<aoti::Model> make_model(const std::string& library, const std::string& torch_library,
                                        const std::string& device, const std::string& cubin_folder) {
  const py::gil_scoped_release release;
  return std::make_shared<aoti::Model>(library, aoti::Libtorch::loaded(torch_library), device, cubin_folder);
}

std::shared_ptr<AotiStreamBinding> make_binding(std::shared_ptr<aoti::Model> model, std::shared_ptr<GpuStream> stream,
                                                bool transfers, std::int64_t timeout_ns) {
  const gpu::StreamView* view = &stream->view();
  return std::make_shared<AotiStreamBinding>(std::move(model),
                                             std::shared_ptr<const gpu::StreamView>(std::move(stream), view),
                                             aoti::StreamCall::Plan{transfers, timeout_ns, &let_ctrl_c_in});
}

}  // namespace

void bind_aoti(py::module_& module) {
  py::class_<aoti::Blob, std::shared_ptr<aoti::Blob>>(module, "AotiTensor")
      .def(py::init(&make_tensor), py::kw_only(), py::arg("data"), py::arg("shape"), py::arg("strides"),
           py::arg("dtype"), py::arg("device_index"), py::arg("keep"));
  py::class_<aoti::Model, std::shared_ptr<aoti::Model>>(module, "AotiModel")
      .def(py::init(&make_model), py::arg("library"), py::arg("torch_library"), py::kw_only(),
           py::arg("device") = "cpu", py::arg("cubin_folder") = "")
      .def_property_readonly("input_names", &aoti::Model::input_names)
      .def_property_readonly("output_names", &aoti::Model::output_names)
      .def_property_readonly("create_ns", &aoti::Model::create_ns);
  py::class_<AotiTarget, Target, std::shared_ptr<AotiTarget>>(module, "AotiTarget")
      .def(py::init<std::shared_ptr<aoti::Model>>(), py::arg("model").none(false))
      .def("bind", &bind<AotiTarget>, py::arg("inputs"))
      .def("run", &run<AotiTarget>)
      .def("outputs", &outputs<AotiTarget>);
  py::class_<AotiStreamBinding, std::shared_ptr<AotiStreamBinding>>(module, "AotiStreamBinding")
      .def(py::init(&make_binding), py::arg("model").none(false), py::arg("stream").none(false), py::kw_only(),
           py::arg("transfers") = false, py::arg("timeout_ns") = gpu::StreamPlan{}.timeout_ns)
      .def("bind", &bind<AotiStreamBinding>, py::arg("inputs"))
      .def("run", &run<AotiStreamBinding>)
      .def("outputs", &outputs<AotiStreamBinding>);
  py::class_<AotiStreamTarget, StreamTarget, std::shared_ptr<AotiStreamTarget>>(module, "AotiStreamTarget")
      .def(py::init(&AotiStreamTarget::make), py::arg("bindings"), py::arg("plan"));
}

}  // namespace pyperf::bindings
