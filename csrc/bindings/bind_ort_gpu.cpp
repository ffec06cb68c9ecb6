// SPDX-License-Identifier: Apache-2.0
#include <deque>
#include <memory>
#include <vector>

#include "bindings/gpu_objects.hpp"
#include "bindings/ort_arrays.hpp"
#include "gpu/stream_loop.hpp"
#include "ort/device_binding.hpp"

namespace pyperf::bindings {
namespace {

// As Python holds a binding: it must not be used while a target over it runs.
class HeldBinding : public OneUser {
 public:
  HeldBinding(std::shared_ptr<ort::Session> session, const ort::DeviceBinding::Plan& plan)
      : binding_(std::move(session), plan) {}

  ort::DeviceBinding& binding() { return binding_; }
  void add_target(const std::shared_ptr<Target>& target) { targets_.push_back(target); }

  // For as long as it lives, no target over the binding runs and nobody else uses the binding.
  class Use {
   public:
    explicit Use(HeldBinding& held) : hold_(held) {
      for (const auto& target : held.targets_) {
        if (auto alive = target.lock()) targets_.emplace_back(std::move(alive));
      }
      for (const auto& target : targets_) holds_.emplace_back(*target);
    }

   private:
    OneUser::Hold hold_;
    std::vector<std::shared_ptr<Target>> targets_;
    std::deque<OneUser::Hold> holds_;
  };

 private:
  std::vector<std::weak_ptr<Target>> targets_;
  ort::DeviceBinding binding_;
};

// Sessions on a stream each; modes latency and cold run the first.
class OrtStreamTarget final : public StreamTarget {
 public:
  OrtStreamTarget(std::vector<std::shared_ptr<HeldBinding>> bindings, const gpu::StreamPlan& plan)
      : bindings_(std::move(bindings)), runner_(works(plan), plan) {}
  gpu::StreamRunner& stream_runner() override { return runner_; }

 private:
  std::vector<ort::DeviceBinding*> works(const gpu::StreamPlan& plan) {
    std::vector<ort::DeviceBinding*> list;
    for (const auto& held : bindings_) {
      if (held == nullptr) throw UsageError("a binding is None");
      if (plan.include_transfers && !held->binding().plan().transfers) {
        throw UsageError("transfers are included, and a session was bound without them");
      }
      list.push_back(&held->binding());
    }
    return list;
  }

  std::vector<std::shared_ptr<HeldBinding>> bindings_;
  gpu::StreamLoop<ort::DeviceBinding> runner_;
};

std::shared_ptr<OrtStreamTarget> make_target(const std::vector<std::shared_ptr<HeldBinding>>& bindings,
                                             const gpu::StreamPlan& plan) {
  auto target = std::make_shared<OrtStreamTarget>(bindings, plan);
  for (const auto& held : bindings) held->add_target(target);
  return target;
}

std::shared_ptr<HeldBinding> make_binding(std::shared_ptr<ort::Session> session, bool transfers, bool captures,
                                          std::int64_t timeout_ns) {
  const py::gil_scoped_release release;
  return std::make_shared<HeldBinding>(std::move(session),
                                       ort::DeviceBinding::Plan{transfers, captures, timeout_ns, &let_ctrl_c_in});
}

// A method of the binding, without the GIL and with nobody else at it.
template <class Result>
auto exclusively(Result (ort::DeviceBinding::*method)()) {
  return [method](HeldBinding& held) -> Result {
    const HeldBinding::Use use(held);
    const py::gil_scoped_release release;
    return (held.binding().*method)();
  };
}

}  // namespace

void bind_ort_gpu(py::module_& module) {
  py::class_<HeldBinding, std::shared_ptr<HeldBinding>>(module, "OrtDeviceBinding")
      .def(py::init(&make_binding), py::arg("session").none(false), py::kw_only(), py::arg("transfers") = false,
           py::arg("captures") = false, py::arg("timeout_ns") = gpu::StreamPlan{}.timeout_ns)
      .def(
          "bind_input",
          [](HeldBinding& held, const std::string& name, const py::array& array) {
            const HeldBinding::Use use(held);
            bind_input_array(held.binding(), name, array);
          },
          py::arg("name"), py::arg("array"))
      .def("bind_outputs", exclusively(&ort::DeviceBinding::bind_outputs))
      .def("run",
           [](HeldBinding& held) {
             const HeldBinding::Use use(held);
             const py::gil_scoped_release release;
             held.binding().submit();
             held.binding().finish();
           })
      .def("outputs",
           [](HeldBinding& held) {
             const HeldBinding::Use use(held);
             return output_arrays(held.binding());
           })
      .def("poison_outputs", exclusively(&ort::DeviceBinding::poison_outputs))
      .def_property_readonly("addresses", [](HeldBinding& held) { return held.binding().addresses(); })
      .def_property_readonly("first_run_ns", [](HeldBinding& held) { return held.binding().first_run_ns(); })
      .def_property_readonly("host_outputs", [](HeldBinding& held) { return held.binding().host_outputs(); })
      .def_property_readonly("unbound_outputs", [](HeldBinding& held) { return held.binding().unbound_outputs(); });
  py::class_<OrtStreamTarget, StreamTarget, std::shared_ptr<OrtStreamTarget>>(module, "OrtStreamTarget")
      .def(py::init(&make_target), py::arg("bindings"), py::arg("plan"));
}

}  // namespace pyperf::bindings
