// SPDX-License-Identifier: Apache-2.0
#include "ort/io_binding.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace pyperf::ort {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector load
constexpr int kArenaAllocator = 1;      // OrtAllocatorType
constexpr int kDefaultMemory = 0;       // OrtMemType

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("?") : std::to_string(shape[i]));
  }
  return text + "]";
}

const TensorInfo& find_input(const Session& session, const std::string& name) {
  const auto& inputs = session.inputs();
  const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const auto& input) { return input.name == name; });
  if (found != inputs.end()) return *found;
  std::string known;
  for (const auto& input : inputs) known += (known.empty() ? "" : ", ") + input.name;
  throw InputError("the model has no input '" + name + "'; it has " + (known.empty() ? "none" : known));
}

void check_fits(const TensorInfo& input, std::size_t bytes, const std::vector<std::int64_t>& shape) {
  if (!input.is_tensor) throw InputError("input '" + input.name + "' is no tensor, and only tensors can be bound");
  const std::size_t element_bytes = size_of(input.element_type);
  if (element_bytes == 0) {
    throw InputError("input '" + input.name + "' holds elements of type " + name_of(input.element_type) +
                     ", which cannot be bound");
  }
  bool fits = shape.size() == input.shape.size();
  std::size_t needed = element_bytes;
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] >= 0 && (input.shape[i] < 0 || input.shape[i] == shape[i]);
    fits = fits && !__builtin_mul_overflow(needed, static_cast<std::size_t>(shape[i]), &needed);
  }
  if (!fits) {
    throw InputError("input '" + input.name + "' takes shape " + text_of(input.shape) + ", and " + text_of(shape) +
                     " was given");
  }
  if (bytes != needed) {
    throw InputError("input '" + input.name + "' of shape " + text_of(shape) + " and type " +
                     name_of(input.element_type) + " takes " + std::to_string(needed) + " bytes, and " +
                     std::to_string(bytes) + " were given");
  }
}

}  // namespace

IoBinding::IoBinding(std::shared_ptr<Session> session)
    : session_(std::move(session)),
      api_(session_->api()),
      run_(api_.at<Run>(Slot::kRunWithBinding)),
      session_handle_(session_->handle()),
      run_options_(api_, Slot::kReleaseRunOptions),
      cpu_memory_(api_, Slot::kReleaseMemoryInfo),
      binding_(api_, Slot::kReleaseIoBinding) {
  api_.call<int, int, OrtMemoryInfo**>(Doing::kConfiguring, Slot::kCreateCpuMemoryInfo, kArenaAllocator, kDefaultMemory,
                                       cpu_memory_.out());
  api_.call<OrtRunOptions**>(Doing::kConfiguring, Slot::kCreateRunOptions, run_options_.out());
  api_.call<OrtSession*, OrtIoBinding**>(Doing::kConfiguring, Slot::kCreateIoBinding, session_handle_, binding_.out());
}

IoBinding::~IoBinding() {
  for (auto* value : output_values_) api_.release(Slot::kReleaseValue, value);
  for (auto& [name, input] : inputs_) api_.release(Slot::kReleaseValue, input.value);
}

void IoBinding::bind_input(const std::string& name, const void* data, std::size_t bytes,
                           const std::vector<std::int64_t>& shape) {
  const TensorInfo& info = find_input(*session_, name);
  check_fits(info, bytes, shape);
  const std::size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  Input input{{static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)), &std::free}, nullptr};
  if (input.data == nullptr) {
    throw OutOfMemoryError("no memory for input '" + name + "': " + std::to_string(bytes) + " bytes");
  }
  std::memcpy(input.data.get(), data, bytes);
  api_.call<const OrtMemoryInfo*, void*, std::size_t, const std::int64_t*, std::size_t, int, OrtValue**>(
      Doing::kConfiguring, Slot::kCreateTensorWithDataAsOrtValue, cpu_memory_.get(), input.data.get(), bytes,
      shape.data(), shape.size(), info.element_type, &input.value);
  api_.call<OrtIoBinding*, const char*, const OrtValue*>(Doing::kConfiguring, Slot::kBindInput, binding_.get(),
                                                         name.c_str(), input.value);
  if (const auto old = inputs_.find(name); old != inputs_.end()) {
    api_.release(Slot::kReleaseValue, old->second.value);
    inputs_.erase(old);
  }
  inputs_.emplace(name, std::move(input));
}

void IoBinding::require_all_inputs() const {
  for (const auto& input : session_->inputs()) {
    if (!inputs_.contains(input.name)) throw InputError("input '" + input.name + "' is not bound");
  }
}

void IoBinding::bind_output_to_cpu(const std::string& name) {
  api_.call<OrtIoBinding*, const char*, const OrtMemoryInfo*>(Doing::kConfiguring, Slot::kBindOutputToDevice,
                                                              binding_.get(), name.c_str(), cpu_memory_.get());
}

void IoBinding::bind_outputs() {
  require_all_inputs();
  for (const auto& output : session_->outputs()) bind_output_to_cpu(output.name);
  for (auto* value : output_values_) api_.release(Slot::kReleaseValue, value);
  output_values_.clear();
  unbound_outputs_.clear();
  const std::int64_t begin_ns = SteadyClock::now_ns();
  submit();
  if (first_run_ns_ == 0) first_run_ns_ = SteadyClock::now_ns() - begin_ns;
  auto values = bound_outputs();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& name = session_->outputs()[i].name;
    if (is_plain_tensor(values[i])) {
      output_values_.push_back(values[i]);
      api_.call<OrtIoBinding*, const char*, const OrtValue*>(Doing::kConfiguring, Slot::kBindOutput, binding_.get(),
                                                             name.c_str(), values[i]);
    } else {
      api_.release(Slot::kReleaseValue, values[i]);
      unbound_outputs_.push_back(name);
    }
  }
  submit();
}

bool IoBinding::is_plain_tensor(const OrtValue* value) const {
  int is_tensor = 0;
  api_.call<const OrtValue*, int*>(Doing::kRunning, Slot::kIsTensor, value, &is_tensor);
  if (is_tensor == 0) return false;
  OrtTensorTypeAndShapeInfo* info = nullptr;
  api_.call<const OrtValue*, OrtTensorTypeAndShapeInfo**>(Doing::kRunning, Slot::kGetTensorTypeAndShape, value, &info);
  int type = 0;
  api_.call<const OrtTensorTypeAndShapeInfo*, int*>(Doing::kRunning, Slot::kGetTensorElementType, info, &type);
  api_.release(Slot::kReleaseTensorTypeAndShapeInfo, info);
  return size_of(type) != 0;
}

// The values are the caller's to release; they share their memory with those in the binding.
std::vector<OrtValue*> IoBinding::bound_outputs() const {
  OrtAllocator* allocator = nullptr;
  api_.call<OrtAllocator**>(Doing::kRunning, Slot::kGetAllocatorWithDefaultOptions, &allocator);
  OrtValue** values = nullptr;
  std::size_t count = 0;
  api_.call<const OrtIoBinding*, OrtAllocator*, OrtValue***, std::size_t*>(Doing::kRunning, Slot::kGetBoundOutputValues,
                                                                           binding_.get(), allocator, &values, &count);
  std::vector<OrtValue*> copy(values, values + count);
  if (values != nullptr) {
    api_.call<OrtAllocator*, void*>(Doing::kRunning, Slot::kAllocatorFree, allocator, static_cast<void*>(values));
  }
  return copy;
}

std::vector<OutputView> IoBinding::outputs() const {
  std::vector<OutputView> views;
  const auto& names = session_->outputs();
  std::size_t kept = 0;
  for (const auto& output : names) {
    if (std::find(unbound_outputs_.begin(), unbound_outputs_.end(), output.name) != unbound_outputs_.end()) continue;
    if (kept == output_values_.size()) break;
    OrtValue* value = output_values_[kept++];
    OutputView view{output.name, 0, {}, nullptr, 0};
    OrtTensorTypeAndShapeInfo* info = nullptr;
    api_.call<const OrtValue*, OrtTensorTypeAndShapeInfo**>(Doing::kRunning, Slot::kGetTensorTypeAndShape, value,
                                                            &info);
    std::size_t rank = 0;
    api_.call<const OrtTensorTypeAndShapeInfo*, std::size_t*>(Doing::kRunning, Slot::kGetDimensionsCount, info, &rank);
    view.shape.resize(rank);
    api_.call<const OrtTensorTypeAndShapeInfo*, std::int64_t*, std::size_t>(Doing::kRunning, Slot::kGetDimensions, info,
                                                                            view.shape.data(), rank);
    api_.call<const OrtTensorTypeAndShapeInfo*, int*>(Doing::kRunning, Slot::kGetTensorElementType, info,
                                                      &view.element_type);
    api_.release(Slot::kReleaseTensorTypeAndShapeInfo, info);
    void* data = nullptr;
    api_.call<OrtValue*, void**>(Doing::kRunning, Slot::kGetTensorMutableData, value, &data);
    view.data = data;
    view.bytes = size_of(view.element_type);
    for (const auto dimension : view.shape) view.bytes *= static_cast<std::size_t>(dimension);
    views.push_back(std::move(view));
  }
  return views;
}

}  // namespace pyperf::ort
