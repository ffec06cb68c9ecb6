// SPDX-License-Identifier: Apache-2.0
#include "ort/bound_session.hpp"

#include <utility>

#include "core/clock.hpp"

namespace pyperf::ort {

BoundSession::BoundSession(std::shared_ptr<Session> session)
    : session_(std::move(session)),
      api_(session_->api()),
      run_(api_.at<Run>(Slot::kRunWithBinding)),
      session_handle_(session_->handle()),
      run_options_(api_, Slot::kReleaseRunOptions),
      binding_(api_, Slot::kReleaseIoBinding) {
  api_.call<OrtRunOptions**>(Doing::kConfiguring, Slot::kCreateRunOptions, run_options_.out());
  api_.call<OrtSession*, OrtIoBinding**>(Doing::kConfiguring, Slot::kCreateIoBinding, session_handle_, binding_.out());
}

void BoundSession::abandon() {
  for (auto& output : outputs_) output.value.abandon();
  binding_.abandon();
}

void BoundSession::set_run_entry(const char* key, const char* value) {
  api_.call<OrtRunOptions*, const char*, const char*>(Doing::kConfiguring, Slot::kAddRunConfigEntry, run_options_.get(),
                                                      key, value);
}

void BoundSession::bind_input(const std::string& name, const OrtValue* value) {
  api_.call<OrtIoBinding*, const char*, const OrtValue*>(Doing::kConfiguring, Slot::kBindInput, binding_.get(),
                                                         name.c_str(), value);
}

void BoundSession::bind_outputs(const std::vector<const OrtMemoryInfo*>& memory, const std::function<void()>& finish) {
  for (std::size_t i = 0; i < memory.size(); ++i) {
    api_.call<OrtIoBinding*, const char*, const OrtMemoryInfo*>(
        Doing::kConfiguring, Slot::kBindOutputToDevice, binding_.get(), session_->outputs()[i].name.c_str(), memory[i]);
  }
  outputs_.clear();
  unbound_outputs_.clear();
  const std::int64_t begin_ns = SteadyClock::now_ns();
  run();
  finish();
  if (first_run_ns_ == 0) first_run_ns_ = SteadyClock::now_ns() - begin_ns;
  auto values = output_values();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& name = session_->outputs()[i].name;
    auto facts = describe(api_, values[i].get());
    if (!facts) {
      unbound_outputs_.push_back(name);
      continue;
    }
    void* data = data_of(api_, values[i].get());
    const bool on_device = is_on_device(api_, values[i].get());
    outputs_.push_back({name, std::move(*facts), data, on_device, std::move(values[i])});
    api_.call<OrtIoBinding*, const char*, const OrtValue*>(Doing::kConfiguring, Slot::kBindOutput, binding_.get(),
                                                           name.c_str(), outputs_.back().value.get());
  }
  run();
  finish();
}

// They share their memory with those in the binding.
std::vector<Owned<OrtValue>> BoundSession::output_values() const {
  OrtAllocator* allocator = nullptr;
  api_.call<OrtAllocator**>(Doing::kRunning, Slot::kGetAllocatorWithDefaultOptions, &allocator);
  OrtValue** values = nullptr;
  std::size_t count = 0;
  api_.call<const OrtIoBinding*, OrtAllocator*, OrtValue***, std::size_t*>(Doing::kRunning, Slot::kGetBoundOutputValues,
                                                                           binding_.get(), allocator, &values, &count);
  std::vector<Owned<OrtValue>> owned;
  owned.reserve(count);
  for (std::size_t i = 0; i < count; ++i) owned.emplace_back(api_, Slot::kReleaseValue, values[i]);
  if (values != nullptr) {
    api_.call<OrtAllocator*, void*>(Doing::kRunning, Slot::kAllocatorFree, allocator, static_cast<void*>(values));
  }
  return owned;
}

}  // namespace pyperf::ort
