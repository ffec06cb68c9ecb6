// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "aoti/model.hpp"
#include "aoti/tensor.hpp"

namespace pyperf::aoti {

// A compiled model with its inputs: what the calls on the host and on a stream are made of. Inputs stay where they are.
//
// A run takes the handles of its inputs for good, also where it fails, and gives handles of its outputs, in memory that
// it has allocated. So every run gets handles of its own to the same tensors. settle() makes them and deletes the
// latest run's outputs, outside of the window; run() itself neither allocates nor frees anything of ours.
class BoundModel {
 public:
  enum class Entry { kRun, kRunSingleThreaded };

  BoundModel(std::shared_ptr<Model> model, Entry entry, void* stream = nullptr);
  ~BoundModel();
  BoundModel(const BoundModel&) = delete;
  BoundModel& operator=(const BoundModel&) = delete;

  const Model& model() const { return *model_; }
  const Libtorch& torch() const { return model_->torch(); }

  // In the model's order; their memory is kept until others are bound. Throws InputError for a wrong number; after any
  // failure the inputs are those of before.
  void bind(const std::vector<Blob>& inputs);

  // Once after bind, and then after each run, whatever came of it. Throws UsageError before bind.
  void settle();

  // Only after settle().
  void run() {
    taken_ = true;
    const Code code = run_(container_, inputs_.data(), inputs_.size(), outputs_.data(), outputs_.size(), stream_,
                           nullptr);  // no proxy executor: a model that needs one fails
    if (code != 0) [[unlikely]]
      model_->fail(entry_name_);
  }

  // Of the latest run, until settle(). In the model's order.
  const std::vector<TensorHandle>& outputs() const { return outputs_; }
  std::vector<OutputFacts> output_facts() const;

  // From now on nothing of it is deleted: for a device that is lost.
  void abandon();

 private:
  void delete_unused() noexcept;
  TensorHandle taken_output(std::size_t index) noexcept;

  std::shared_ptr<Model> model_;
  const char* entry_name_;
  Model::Run* run_;
  Model::Container* container_;
  void* stream_;
  bool bound_ = false;
  bool taken_ = false;                 // what inputs_ holds is the latest run's
  std::vector<Tensor> tensors_;        // over the bound memory
  std::vector<TensorHandle> inputs_;   // for the next run; null: not made
  std::vector<TensorHandle> outputs_;  // of the latest run; null: deleted, or none
};

// What holds while a batch of calls runs: no gradients, and handles for the first call.
template <class Call>
class CallScope {
 public:
  explicit CallScope(Call& call) : grad_mode_off_(call.torch()) { call.settle(); }

 private:
  GradModeOff grad_mode_off_;
};

}  // namespace pyperf::aoti
