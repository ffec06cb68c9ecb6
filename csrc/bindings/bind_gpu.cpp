// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include <cstdint>

#include "bindings/gpu_objects.hpp"
#include "core/error.hpp"
#include "gpu/event.hpp"
#include "gpu/waiting.hpp"

namespace pyperf::bindings {
namespace {

constexpr const char* kProtocol = "__cuda_stream__";

std::shared_ptr<gpu::Context> open_context(int ordinal, const std::string& driver) {
  const py::gil_scoped_release release;
  return gpu::Context::open(gpu::Driver::load(driver), ordinal);
}

// The protocol of cuda.core, which torch's streams have too: (version, address of the CUstream).
std::shared_ptr<GpuStream> view_stream(std::shared_ptr<gpu::Context> context, const py::object& owner) {
  if (py::isinstance<GpuStream>(owner)) return owner.cast<std::shared_ptr<GpuStream>>();
  if (!py::hasattr(owner, kProtocol)) {
    throw py::type_error("a stream is an object with " + std::string(kProtocol) + ", such as torch.cuda.Stream, and " +
                         py::repr(owner).cast<std::string>() + " has none");
  }
  py::object protocol = owner.attr(kProtocol);
  if (PyCallable_Check(protocol.ptr())) protocol = protocol();
  const auto [version, handle] = [&] {
    try {
      return protocol.cast<std::pair<int, std::uintptr_t>>();
    } catch (const py::cast_error&) {
      throw py::type_error(std::string(kProtocol) + " is (version, address of the stream), and not " +
                           py::repr(protocol).cast<std::string>());
    }
  }();
  if (version != 0) {
    throw InputError("the stream speaks version " + std::to_string(version) + " of " + kProtocol +
                     ", and version 0 is known here");
  }
  const auto stream = reinterpret_cast<CUstream>(handle);
  const gpu::Context::Current current(*context);
  CUcontext owning = nullptr;
  PYPERF_CUDA(*context, cuStreamGetCtx(stream, &owning));
  if (owning != context->handle()) {
    throw InputError("the stream is not one of GPU " + std::to_string(context->facts().ordinal) + " (" +
                     context->facts().name + "); give it the GPU that the stream was made on");
  }
  return std::make_shared<GpuStream>(gpu::StreamView(std::move(context), stream), owner);
}

gpu::Wait wait_named(const std::string& name) {
  if (name == "spin") return gpu::Wait::kSpin;
  if (name == "block") return gpu::Wait::kBlock;
  throw UsageError("the way of waiting '" + name + "' is unknown; it can be spin or block");
}

// Two events around whatever is queued on a stream between start() and stop().
class EventPair {
 public:
  EventPair(std::shared_ptr<GpuStream> stream, std::int64_t timeout_ns)
      : stream_(std::move(stream)), timeout_ns_(timeout_ns), begin_(context()), end_(context()) {
    gpu::check_timeout(timeout_ns_);
  }

  void start() {
    stopped_ = false;
    started_ = true;
    record(begin_);
  }

  void stop() {
    if (!started_) throw UsageError("the timer was never started");
    record(end_);
    stopped_ = true;
  }

  bool is_done() {
    require_stopped();
    const gpu::Context::Current current(*context());
    return end_.is_done();
  }

  std::int64_t elapsed_ns() {
    require_stopped();
    const py::gil_scoped_release release;
    const gpu::Context::Current current(*context());
    gpu::spin_until_done<SteadyClock>(end_, timeout_ns_, &let_ctrl_c_in);
    return gpu::elapsed_ns(begin_, end_);
  }

 private:
  const std::shared_ptr<gpu::Context>& context() const { return stream_->view().shared_context(); }

  void record(const gpu::Event& event) {
    const gpu::Context::Current current(*context());
    event.record(stream_->view().handle());
  }

  void require_stopped() const {
    if (!stopped_)
      throw UsageError("the timer has not been started and stopped: with EventTimer(stream) as timer: ...");
  }

  std::shared_ptr<GpuStream> stream_;
  std::int64_t timeout_ns_;
  gpu::Event begin_;
  gpu::Event end_;
  bool started_ = false;
  bool stopped_ = false;
};

void bind_facts(py::module_& module) {
  using gpu::DeviceFacts;
  py::class_<DeviceFacts>(module, "GpuFacts")
      .def_readonly("ordinal", &DeviceFacts::ordinal)
      .def_readonly("name", &DeviceFacts::name)
      .def_readonly("uuid", &DeviceFacts::uuid)
      .def_readonly("pci_bus_id", &DeviceFacts::pci_bus_id)
      .def_readonly("compute_major", &DeviceFacts::compute_major)
      .def_readonly("compute_minor", &DeviceFacts::compute_minor)
      .def_readonly("multiprocessors", &DeviceFacts::multiprocessors)
      .def_readonly("memory_bytes", &DeviceFacts::memory_bytes)
      .def_readonly("l2_bytes", &DeviceFacts::l2_bytes)
      .def_readonly("sm_clock_khz", &DeviceFacts::sm_clock_khz)
      .def_readonly("memory_clock_khz", &DeviceFacts::memory_clock_khz)
      .def_readonly("memory_bus_bits", &DeviceFacts::memory_bus_bits)
      .def_property_readonly("memory_bandwidth_bytes_per_s", &DeviceFacts::memory_bandwidth_bytes_per_s);
}

}  // namespace

void bind_gpu(py::module_& module) {
  using gpu::Context;
  bind_facts(module);
  module.def(
      "gpu_count", [](const std::string& driver) { return gpu::device_count(gpu::Driver::load(driver)); },
      py::arg("driver"), py::call_guard<py::gil_scoped_release>());
  py::class_<Context, std::shared_ptr<Context>>(module, "GpuContext")
      .def(py::init(&open_context), py::arg("ordinal"), py::arg("driver"))
      .def_property_readonly("facts", &Context::facts)
      .def_property_readonly("driver_version", [](const Context& context) { return context.driver().version(); })
      .def_property_readonly("is_lost", &Context::is_lost)
      .def("free_memory_bytes", &Context::free_memory_bytes, py::call_guard<py::gil_scoped_release>())
      .def("used_memory_bytes", &Context::used_memory_bytes, py::call_guard<py::gil_scoped_release>());
  py::class_<GpuStream, std::shared_ptr<GpuStream>>(module, "GpuStream")
      .def(py::init<std::shared_ptr<Context>>(), py::arg("context").none(false))
      .def_static("view", &view_stream, py::arg("context").none(false), py::arg("stream"))
      .def_property_readonly("context", [](const GpuStream& stream) { return stream.view().shared_context(); })
      .def_property_readonly(
          "handle", [](const GpuStream& stream) { return reinterpret_cast<std::uintptr_t>(stream.view().handle()); })
      .def(kProtocol,
           [](const GpuStream& stream) {
             return std::pair(0, reinterpret_cast<std::uintptr_t>(stream.view().handle()));
           })
      .def(
          "synchronize",
          [](const GpuStream& stream, std::int64_t timeout_ns) {
            gpu::check_timeout(timeout_ns);
            const py::gil_scoped_release release;
            gpu::finish(stream.view(), timeout_ns, &let_ctrl_c_in);
          },
          py::arg("timeout_ns") = gpu::StreamPlan{}.timeout_ns);
  py::class_<EventPair>(module, "EventPair")
      .def(py::init<std::shared_ptr<GpuStream>, std::int64_t>(), py::arg("stream").none(false), py::arg("timeout_ns"))
      .def("start", &EventPair::start)
      .def("stop", &EventPair::stop)
      .def("is_done", &EventPair::is_done)
      .def("elapsed_ns", &EventPair::elapsed_ns);
  py::class_<gpu::EventOverhead>(module, "EventOverhead")
      .def_readonly("latency_ns", &gpu::EventOverhead::latency_ns)
      .def_readonly("span_ns", &gpu::EventOverhead::span_ns)
      .def_readonly("step_ns", &gpu::EventOverhead::step_ns);
  py::class_<gpu::StreamPlan>(module, "StreamPlan")
      .def(py::init([](const std::string& wait, bool include_transfers, bool gate, std::int64_t timeout_ns,
                       std::int64_t gate_timeout_ns, std::int64_t in_flight) {
             const gpu::StreamPlan plan{wait_named(wait), include_transfers, gate,          timeout_ns,
                                        gate_timeout_ns,  in_flight,         &let_ctrl_c_in};
             check(plan);
             return plan;
           }),
           py::kw_only(), py::arg("wait") = "spin", py::arg("include_transfers") = gpu::StreamPlan{}.include_transfers,
           py::arg("gate") = gpu::StreamPlan{}.gate, py::arg("timeout_ns") = gpu::StreamPlan{}.timeout_ns,
           py::arg("gate_timeout_ns") = gpu::StreamPlan{}.gate_timeout_ns,
           py::arg("in_flight") = gpu::StreamPlan{}.in_flight)
      .def_property_readonly(
          "wait", [](const gpu::StreamPlan& plan) { return plan.wait == gpu::Wait::kSpin ? "spin" : "block"; })
      .def_readonly("include_transfers", &gpu::StreamPlan::include_transfers)
      .def_readonly("gate", &gpu::StreamPlan::gate)
      .def_readonly("timeout_ns", &gpu::StreamPlan::timeout_ns)
      .def_readonly("gate_timeout_ns", &gpu::StreamPlan::gate_timeout_ns)
      .def_readonly("in_flight", &gpu::StreamPlan::in_flight);
}

}  // namespace pyperf::bindings
