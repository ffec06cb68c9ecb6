// SPDX-License-Identifier: Apache-2.0
#include "aoti/bound_model.hpp"

#include <algorithm>
#include <utility>

#include "core/error.hpp"

namespace pyperf::aoti {

BoundModel::BoundModel(std::shared_ptr<Model> model, Entry entry, void* stream)
    : model_(std::move(model)),
      entry_name_(entry == Entry::kRun ? "AOTInductorModelContainerRun" : "AOTInductorModelContainerRunSingleThreaded"),
      run_(entry == Entry::kRun ? model_->run() : model_->run_single_threaded()),
      container_(model_->container()),
      stream_(stream),
      outputs_(model_->output_names().size(), nullptr) {}

BoundModel::~BoundModel() { delete_unused(); }

void BoundModel::bind(const std::vector<Blob>& inputs) {
  const auto& names = model_->input_names();
  if (inputs.size() != names.size()) {
    std::string list;
    for (const auto& name : names) list += (list.empty() ? " (" : ", ") + name;
    throw InputError("the compiled model has " + std::to_string(names.size()) + " inputs" +
                     (list.empty() ? "" : list + ")") + ", and " + std::to_string(inputs.size()) + " were given");
  }
  std::vector<Tensor> tensors;
  tensors.reserve(inputs.size());
  for (const auto& input : inputs) tensors.emplace_back(torch(), input);
  std::vector<TensorHandle> handles(inputs.size(), nullptr);
  delete_unused();
  tensors_.swap(tensors);
  inputs_.swap(handles);
  taken_ = false;
  bound_ = true;
}

void BoundModel::settle() {
  if (!bound_) throw UsageError("the compiled model has no inputs yet: bind them first");
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i] != nullptr) PYPERF_SHIM(torch(), delete_tensor_object(taken_output(i)));
  }
  if (taken_) std::fill(inputs_.begin(), inputs_.end(), nullptr);
  taken_ = false;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i] == nullptr) PYPERF_SHIM(torch(), new_tensor_handle(tensors_[i].handle(), &inputs_[i]));
  }
}

std::vector<OutputFacts> BoundModel::output_facts() const {
  std::vector<OutputFacts> facts;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    facts.push_back(describe(torch(), outputs_[i], model_->output_names()[i]));
  }
  return facts;
}

void BoundModel::abandon() {
  for (auto& tensor : tensors_) tensor.abandon();
  std::fill(inputs_.begin(), inputs_.end(), nullptr);
  std::fill(outputs_.begin(), outputs_.end(), nullptr);
  model_->abandon();
}

void BoundModel::delete_unused() noexcept {
  if (taken_) std::fill(inputs_.begin(), inputs_.end(), nullptr);
  for (auto& input : inputs_) {
    if (input != nullptr) torch().delete_tensor_object(std::exchange(input, nullptr));
  }
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i] != nullptr) torch().delete_tensor_object(taken_output(i));
  }
}

// A model that returns one tensor twice gives the very same handle twice.
TensorHandle BoundModel::taken_output(std::size_t index) noexcept {
  const TensorHandle handle = outputs_[index];
  std::replace(outputs_.begin() + static_cast<std::ptrdiff_t>(index), outputs_.end(), handle, TensorHandle{nullptr});
  return handle;
}

}  // namespace pyperf::aoti
