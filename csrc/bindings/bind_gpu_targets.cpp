// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <list>
#include <optional>
#include <tuple>
#include <vector>

#include "bindings/callable.hpp"
#include "bindings/gpu_objects.hpp"
#include "gpu/graph.hpp"
#include "gpu/stream_loop.hpp"

namespace pyperf::bindings {
namespace {

using HeldStream = std::shared_ptr<GpuStream>;
using Copies = std::vector<std::tuple<std::uintptr_t, std::uintptr_t, std::size_t>>;  // device, host, bytes

std::vector<gpu::Transfers::Copy> as_transfers(const Copies& copies) {
  std::vector<gpu::Transfers::Copy> list;
  for (const auto& [device, host, bytes] : copies) {
    list.push_back({static_cast<CUdeviceptr>(device), reinterpret_cast<void*>(host), bytes});
  }
  return list;
}

struct GraphLane {
  HeldStream stream;
  gpu::GraphWork work;
};

GraphLane make_graph_lane(std::uintptr_t graph, HeldStream stream, const Copies& inputs, const Copies& outputs) {
  if (graph == 0) throw UsageError("the executable graph is null: capture and instantiate it first");
  gpu::GraphWork work(reinterpret_cast<CUgraphExec>(graph), stream->view(),
                      gpu::Transfers(as_transfers(inputs), as_transfers(outputs)));
  return {std::move(stream), std::move(work)};
}

class GraphTarget final : public StreamTarget {
 public:
  GraphTarget(std::vector<GraphLane> lanes, const gpu::StreamPlan& plan, py::object keep)
      : keep_(std::move(keep)), lanes_(std::move(lanes)), runner_(works(), plan) {}
  gpu::StreamRunner& stream_runner() override { return runner_; }

 private:
  std::vector<gpu::GraphWork*> works() {
    std::vector<gpu::GraphWork*> list;
    for (auto& lane : lanes_) list.push_back(&lane.work);
    return list;
  }

  py::object keep_;  // what the graph needs: its memory, its tensors
  std::vector<GraphLane> lanes_;
  gpu::StreamLoop<gpu::GraphWork> runner_;
};

// A Python callable that queues its work on a stream, with callables for the copies.
class StreamCall {
 public:
  static constexpr bool kNeedsPython = true;
  using BatchScope = GilScope;
  using WaitScope = GilRelease;

  StreamCall(HeldStream stream, Callable submit, std::optional<Callable> h2d, std::optional<Callable> d2h)
      : stream_(std::move(stream)), submit_(std::move(submit)), h2d_(std::move(h2d)), d2h_(std::move(d2h)) {}

  const gpu::StreamView& stream() const { return stream_->view(); }
  bool can_transfer() const { return h2d_ && d2h_; }
  void h2d() { h2d_->call(); }
  void submit() { submit_.call(); }
  void d2h() { d2h_->call(); }
  void settle() {
    submit_.forget();
    if (h2d_) h2d_->forget();
    if (d2h_) d2h_->forget();
  }

 private:
  HeldStream stream_;
  Callable submit_;
  std::optional<Callable> h2d_;
  std::optional<Callable> d2h_;
};

// What Python names a lane; the target makes its own StreamCall of it.
struct CallableLane {
  TargetFunction submit;
  HeldStream stream;
  py::object h2d;
  py::object d2h;
};

std::optional<Callable> optional_callable(const py::object& function) {
  if (function.is_none()) return std::nullopt;
  return Callable(py::reinterpret_borrow<TargetFunction>(function));
}

class StreamCallableTarget final : public StreamTarget {
 public:
  StreamCallableTarget(const std::vector<CallableLane>& lanes, const gpu::StreamPlan& plan)
      : calls_(make(lanes, plan)), runner_(works(), plan) {}
  gpu::StreamRunner& stream_runner() override { return runner_; }

 private:
  static std::list<StreamCall> make(const std::vector<CallableLane>& lanes, const gpu::StreamPlan& plan) {
    std::list<StreamCall> calls;
    for (const auto& lane : lanes) {
      calls.emplace_back(lane.stream, Callable(lane.submit), optional_callable(lane.h2d), optional_callable(lane.d2h));
      if (plan.include_transfers && !calls.back().can_transfer()) {
        throw UsageError("transfers are included, and a lane has no callables h2d and d2h that queue them");
      }
    }
    return calls;
  }

  std::vector<StreamCall*> works() {
    std::vector<StreamCall*> list;
    for (auto& call : calls_) list.push_back(&call);
    return list;
  }

  std::list<StreamCall> calls_;
  gpu::StreamLoop<StreamCall> runner_;
};

}  // namespace

void bind_gpu_targets(py::module_& module) {
  py::class_<StreamTarget, Target, std::shared_ptr<StreamTarget>>(module, "StreamTarget")
      .def("probe_asynchrony",
           [](StreamTarget& target) {
             const OneUser::Hold hold(target);
             const py::gil_scoped_release release;
             return name_of(target.stream_runner().probe_asynchrony());
           })
      .def("measure_overhead",
           [](StreamTarget& target) {
             const OneUser::Hold hold(target);
             const py::gil_scoped_release release;
             return target.stream_runner().measure_overhead();
           })
      .def_property_readonly("asynchrony",
                             [](StreamTarget& target) { return name_of(target.stream_runner().asynchrony()); })
      .def_property_readonly("asynchrony_evidence",
                             [](StreamTarget& target) { return target.stream_runner().asynchrony_evidence(); })
      .def_property_readonly("gated", [](StreamTarget& target) { return target.stream_runner().is_gated(); })
      .def_property_readonly("gate_reason", [](StreamTarget& target) { return target.stream_runner().gate_reason(); })
      .def_property_readonly("gate_timeouts",
                             [](StreamTarget& target) { return target.stream_runner().gate_timeouts(); })
      .def_property_readonly("flush_bytes", [](StreamTarget& target) { return target.stream_runner().flush_bytes(); });

  py::class_<GraphLane>(module, "GraphLane")
      .def(py::init(&make_graph_lane), py::arg("graph"), py::arg("stream").none(false), py::arg("inputs") = Copies(),
           py::arg("outputs") = Copies());
  py::class_<GraphTarget, StreamTarget, std::shared_ptr<GraphTarget>>(module, "GraphTarget")
      .def(py::init<std::vector<GraphLane>, const gpu::StreamPlan&, py::object>(), py::arg("lanes"), py::arg("plan"),
           py::arg("keep") = py::none());

  py::class_<CallableLane>(module, "CallableLane")
      .def(py::init<TargetFunction, HeldStream, py::object, py::object>(), py::arg("submit"),
           py::arg("stream").none(false), py::arg("h2d") = py::none(), py::arg("d2h") = py::none());
  py::class_<StreamCallableTarget, StreamTarget, std::shared_ptr<StreamCallableTarget>>(module, "StreamCallableTarget")
      .def(py::init<const std::vector<CallableLane>&, const gpu::StreamPlan&>(), py::arg("lanes"), py::arg("plan"));
}

}  // namespace pyperf::bindings
