// SPDX-License-Identifier: Apache-2.0
#include "aoti/stream_call.hpp"

#include <cstring>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace pyperf::aoti {

StreamCall::StreamCall(std::shared_ptr<Model> model, std::shared_ptr<const gpu::StreamView> stream, const Plan& plan)
    : stream_(std::move(stream)),
      plan_(plan),
      bound_(std::move(model), BoundModel::Entry::kRunSingleThreaded, stream_->handle()),
      done_(stream_->shared_context()) {
  gpu::check_timeout(plan_.timeout_ns);
}

StreamCall::~StreamCall() {
  const gpu::Context& context = stream_->context();
  try {
    if (!context.is_lost()) finish();  // what is still queued uses the memory that goes now
  } catch (const Error&) {             // the context is lost now, or the work has failed and is over
  }
  if (context.is_lost()) bound_.abandon();
}

void StreamCall::finish() {
  const gpu::Context::Current current(stream_->context());
  done_.record(stream_->handle());
  gpu::spin_until_done<SteadyClock>(done_, plan_.timeout_ns, plan_.while_waiting);
}

void StreamCall::bind(const std::vector<Blob>& inputs) {
  finish();
  std::vector<std::unique_ptr<gpu::PinnedBuffer>> pinned;
  std::vector<gpu::Transfers::Copy> copies;
  for (const auto& input : inputs) {
    const std::size_t bytes = span_bytes(input);
    if (!plan_.transfers || !input.device_index || bytes == 0) continue;
    const auto address = reinterpret_cast<CUdeviceptr>(input.data);
    pinned.push_back(std::make_unique<gpu::PinnedBuffer>(stream_->shared_context(), bytes));
    gpu::copy_to_host(stream_->context(), pinned.back()->data(), address, bytes);
    copies.push_back({address, pinned.back()->data(), bytes});
  }
  bound_.bind(inputs);
  to_device_ = gpu::Transfers(std::move(copies), {});
  pinned_inputs_.swap(pinned);
  to_host_.clear();
  has_room_ = false;
}

void StreamCall::run_once() {
  const gpu::Context::Current current(stream_->context());
  const BatchScope scope(*this);
  submit();
  finish();
  if (plan_.transfers && !has_room_) make_room_for_outputs();
  settle();
}

std::vector<OutputCopy> StreamCall::outputs() {
  const gpu::Context::Current current(stream_->context());
  const BatchScope scope(*this);
  submit();
  finish();
  std::vector<OutputCopy> copies;
  for (auto& facts : bound_.output_facts()) {
    std::vector<std::byte> bytes(facts.bytes);
    if (facts.on_device) {
      gpu::copy_to_host(stream_->context(), bytes.data(), reinterpret_cast<CUdeviceptr>(facts.data), bytes.size());
    } else if (!bytes.empty()) {
      std::memcpy(bytes.data(), facts.data, bytes.size());
    }
    copies.push_back({std::move(facts), std::move(bytes)});
  }
  settle();
  return copies;
}

void StreamCall::d2h() {
  if (!has_room_) make_room_for_outputs();  // in the very first call, unless it was run before
  for (const auto& copy : to_host_) {
    const TensorHandle handle = bound_.outputs()[copy.output];
    std::int64_t elements = 0;
    void* data = nullptr;
    PYPERF_SHIM(torch(), get_numel(handle, &elements));
    if (elements != copy.elements) [[unlikely]] {
      throw MeasurementError("output '" + bound_.model().output_names()[copy.output] + "' of the compiled model had " +
                             std::to_string(copy.elements) + " elements and now has " + std::to_string(elements) +
                             "; with transfers its size must stay");
    }
    PYPERF_SHIM(torch(), get_data_ptr(handle, &data));
    PYPERF_CUDA(stream_->context(), cuMemcpyDtoHAsync(copy.pinned->data(), reinterpret_cast<CUdeviceptr>(data),
                                                      copy.bytes, stream_->handle()));
  }
}

// Of those in the GPU's memory; what the model makes in the host's is part of no transfer.
void StreamCall::make_room_for_outputs() {
  std::vector<ToHost> made;
  const auto facts = bound_.output_facts();
  for (std::size_t i = 0; i < facts.size(); ++i) {
    if (!facts[i].on_device || facts[i].bytes == 0) continue;
    std::int64_t elements = 0;
    PYPERF_SHIM(torch(), get_numel(bound_.outputs()[i], &elements));
    made.push_back(
        {i, elements, facts[i].bytes, std::make_unique<gpu::PinnedBuffer>(stream_->shared_context(), facts[i].bytes)});
  }
  to_host_ = std::move(made);
  has_room_ = true;
}

// A failure inside the model may have broken the context, of which the driver alone knows. A lost context frees
// nothing.
void StreamCall::look_at_device() const {
  try {
    stream_->context().free_memory_bytes();
  } catch (const Error&) {
  }
}

}  // namespace pyperf::aoti
