// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>
#include <variant>

#include "bindings/bindings.hpp"
#include "gpu/stream.hpp"
#include "gpu/stream_runner.hpp"

namespace pyperf::bindings {

// What happens while the host waits for the GPU: a gpu::WhileWaiting. Throws KeyboardInterrupt.
inline void let_ctrl_c_in() {
  const py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

// A stream as Python holds it: ours, or somebody else's together with the object that owns it.
class GpuStream {
 public:
  explicit GpuStream(std::shared_ptr<gpu::Context> context)
      : owned_(std::make_unique<gpu::OwnedStream>(std::move(context))), view_(owned_->view()) {}
  GpuStream(gpu::StreamView view, py::object owner) : view_(std::move(view)), owner_(std::move(owner)) {}

  const gpu::StreamView& view() const { return view_; }

 private:
  std::unique_ptr<gpu::OwnedStream> owned_;
  gpu::StreamView view_;
  py::object owner_;
};

// What Python holds of work on streams.
class StreamTarget : public Target {
 public:
  virtual gpu::StreamRunner& stream_runner() = 0;
  Runner& runner() override { return stream_runner(); }
};

}  // namespace pyperf::bindings
