// SPDX-License-Identifier: Apache-2.0
#include "ort/device_binding.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "gpu/waiting.hpp"

namespace pyperf::ort {
namespace {

constexpr std::size_t kLeastBytes = 64;  // so that an empty tensor has an address too

// Without it every run ends with a wait for the stream (onnxruntime_run_options_config_keys.h).
constexpr const char* kDoNotSynchronise = "disable_synchronize_execution_providers";

std::shared_ptr<const gpu::StreamView> stream_of(const Session& session) {
  if (session.stream() == nullptr) throw UsageError("this session is on no stream of a GPU");
  return session.stream();
}

}  // namespace

DeviceBinding::DeviceBinding(std::shared_ptr<Session> session, const Plan& plan)
    : stream_(stream_of(*session)),
      bound_(std::move(session)),
      device_memory_(cuda_memory(bound_.api(), stream_->context().facts().ordinal)),
      host_memory_(host_memory(bound_.api())),
      plan_(plan),
      done_(stream_->shared_context()) {
  bound_.set_run_entry(kDoNotSynchronise, "1");
}

DeviceBinding::~DeviceBinding() {
  const gpu::Context& context = stream_->context();
  try {
    if (!context.is_lost()) finish();  // what is still queued uses the memory that goes now
  } catch (const Error&) {             // the context is lost now, or the work has failed and is over
  }
  if (context.is_lost()) bound_.abandon();
}

void DeviceBinding::finish() {
  const gpu::Context::Current current(stream_->context());
  done_.record(stream_->handle());
  gpu::spin_until_done<SteadyClock>(done_, plan_.timeout_ns, plan_.while_waiting);
}

// On our stream, and waited for there: a copy of pageable memory on the default stream may return before it has ended,
// and ours does not wait for that stream.
void DeviceBinding::write(std::uintptr_t to, const void* from, std::size_t bytes) const {
  const gpu::Context::Current current(stream_->context());
  PYPERF_CUDA(stream_->context(), cuMemcpyHtoDAsync(static_cast<CUdeviceptr>(to), from, bytes, stream_->handle()));
}

DeviceBinding::Input DeviceBinding::make_input(const TensorInfo& info, std::size_t bytes,
                                               const std::vector<std::int64_t>& shape) const {
  const auto& context = stream_->shared_context();
  const std::size_t room = std::max(bytes, kLeastBytes);
  auto memory = std::make_unique<gpu::DeviceBuffer>(context, room);
  auto pinned = plan_.transfers ? std::make_unique<gpu::PinnedBuffer>(context, room) : nullptr;
  auto value = tensor_over(bound_.api(), device_memory_.get(), reinterpret_cast<void*>(memory->address()), bytes, shape,
                           info.element_type);
  return {shape, bytes, std::move(memory), std::move(pinned), std::move(value)};
}

void DeviceBinding::bind_input(const std::string& name, const void* data, std::size_t bytes,
                               const std::vector<std::int64_t>& shape) {
  const TensorInfo& info = find_input(bound_.session(), name);
  check_fits(info, bytes, shape);
  finish();
  std::optional<Input> made;
  const auto found = inputs_.find(name);
  if (found == inputs_.end() || found->second.shape != shape) {
    if (captured_) {
      throw UsageError("the CUDA graph of this session was captured with another shape of input '" + name +
                       "'; another shape takes another session");
    }
    made.emplace(make_input(info, bytes, shape));
  }
  Input& input = made ? *made : found->second;
  if (bytes > 0) {
    if (input.pinned != nullptr) std::memcpy(input.pinned->data(), data, bytes);
    write(input.memory->address(), data, bytes);
    finish();
  }
  bound_.bind_input(name, input.value.get());  // the library copies now what it wants in the host's memory
  if (!made) return;
  in_place_ = false;
  transfers_ = {};  // of the old memory; bind_outputs makes them anew
  inputs_.erase(name);
  inputs_.emplace(name, std::move(*made));
}

void DeviceBinding::bind_outputs() {
  require_all_inputs(bound_.session(), inputs_);
  if (in_place_ && runs_in_place()) return;
  in_place_ = false;
  transfers_ = {};
  pinned_outputs_.clear();
  try {
    bound_.bind_outputs(output_memory(), [this] { finish(); });
  } catch (const Error&) {
    look_at_device();
    throw;
  }
  if (plan_.transfers) make_transfers();
  in_place_ = true;
  captured_ = plan_.captures;
}

// False where the outputs do not fit these inputs: their shapes can depend on values.
bool DeviceBinding::runs_in_place() {
  try {
    submit();
    finish();
    return true;
  } catch (const Error&) {
    if (captured_ || stream_->context().is_lost()) throw;
    return false;
  }
}

// Each where the session makes it: asked for elsewhere, it would be copied there in every run. Older libraries do not
// tell, and give all on the device.
std::vector<const OrtMemoryInfo*> DeviceBinding::output_memory() const {
  const Session& session = bound_.session();
  const std::size_t count = session.outputs().size();
  std::vector<const OrtMemoryInfo*> memory(count, device_memory_.get());
  if (bound_.api().version() < kOutputMemoryApi) return memory;
  std::vector<const OrtMemoryInfo*> made_in(count, nullptr);
  bound_.api().call<const OrtSession*, const OrtMemoryInfo**, std::size_t>(
      Doing::kRunning, Slot::kSessionGetMemoryInfoForOutputs, session.handle(), made_in.data(), count);
  for (std::size_t i = 0; i < count; ++i) {
    if (made_in[i] != nullptr && !is_device_memory(bound_.api(), made_in[i])) memory[i] = host_memory_.get();
  }
  return memory;
}

void DeviceBinding::make_transfers() {
  std::vector<gpu::Transfers::Copy> inputs;
  for (const auto& [name, input] : inputs_) {
    if (input.bytes > 0) inputs.push_back({input.memory->address(), input.pinned->data(), input.bytes});
  }
  std::vector<gpu::Transfers::Copy> outputs;
  for (const auto& output : bound_.outputs()) {
    const std::size_t bytes = output.facts.bytes();
    if (!output.on_device || bytes == 0) continue;
    pinned_outputs_.push_back(std::make_unique<gpu::PinnedBuffer>(stream_->shared_context(), bytes));
    outputs.push_back({reinterpret_cast<CUdeviceptr>(output.data), pinned_outputs_.back()->data(), bytes});
  }
  transfers_ = gpu::Transfers(std::move(inputs), std::move(outputs));
}

std::vector<std::string> DeviceBinding::host_outputs() const {
  std::vector<std::string> names;
  for (const auto& output : bound_.outputs()) {
    if (!output.on_device) names.push_back(output.name);
  }
  return names;
}

std::vector<OutputView> DeviceBinding::outputs() {
  finish();
  std::vector<OutputView> views;
  copies_.clear();
  for (const auto& output : bound_.outputs()) {
    const void* data = output.data;
    const std::size_t bytes = output.facts.bytes();
    if (output.on_device) {
      auto& copy = copies_.emplace_back(bytes);
      gpu::copy_to_host(stream_->context(), copy.data(), reinterpret_cast<CUdeviceptr>(output.data), bytes);
      data = copy.data();
    }
    views.push_back({output.name, output.facts.element_type, output.facts.shape, data, bytes});
  }
  return views;
}

void DeviceBinding::poison_outputs() {
  finish();
  for (const auto& output : bound_.outputs()) {
    const std::vector<std::byte> poison(output.facts.bytes(), std::byte{0xFF});
    if (poison.empty()) continue;
    if (output.on_device) {
      write(reinterpret_cast<std::uintptr_t>(output.data), poison.data(), poison.size());
      finish();
    } else {
      std::memcpy(output.data, poison.data(), poison.size());
    }
  }
}

std::map<std::string, std::uintptr_t> DeviceBinding::addresses() const {
  std::map<std::string, std::uintptr_t> addresses;
  for (const auto& [name, input] : inputs_) addresses[name] = input.memory->address();
  for (const auto& output : bound_.outputs()) {
    if (output.on_device) addresses[output.name] = reinterpret_cast<std::uintptr_t>(output.data);
  }
  return addresses;
}

// A failure inside the library may have broken the context, of which the driver alone knows. A lost context frees
// nothing.
void DeviceBinding::look_at_device() const {
  try {
    stream_->context().free_memory_bytes();
  } catch (const Error&) {
  }
}

}  // namespace pyperf::ort
