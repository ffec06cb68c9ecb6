// SPDX-License-Identifier: Apache-2.0
#include "ort/io_binding.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.hpp"

namespace pyperf::ort {
namespace {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector load

}  // namespace

IoBinding::IoBinding(std::shared_ptr<Session> session)
    : bound_(std::move(session)), memory_(host_memory(bound_.api())) {}

void IoBinding::bind_input(const std::string& name, const void* data, std::size_t bytes,
                           const std::vector<std::int64_t>& shape) {
  const TensorInfo& info = find_input(bound_.session(), name);
  check_fits(info, bytes, shape);
  const std::size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::unique_ptr<std::byte, void (*)(void*)> copy{static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)),
                                                   &std::free};
  if (copy == nullptr) {
    throw OutOfMemoryError("no memory for input '" + name + "': " + std::to_string(bytes) + " bytes");
  }
  std::memcpy(copy.get(), data, bytes);
  auto value = tensor_over(bound_.api(), memory_.get(), copy.get(), bytes, shape, info.element_type);
  bound_.bind_input(name, value.get());
  inputs_.erase(name);
  inputs_.emplace(name, Input{std::move(copy), std::move(value)});
}

void IoBinding::bind_outputs() {
  require_all_inputs(bound_.session(), inputs_);
  bound_.bind_outputs(std::vector<const OrtMemoryInfo*>(bound_.session().outputs().size(), memory_.get()), [] {});
}

std::vector<OutputView> IoBinding::outputs() const {
  std::vector<OutputView> views;
  for (const auto& output : bound_.outputs()) {
    views.push_back({output.name, output.facts.element_type, output.facts.shape, output.data, output.facts.bytes()});
  }
  return views;
}

}  // namespace pyperf::ort
