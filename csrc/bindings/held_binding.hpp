// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "bindings/gpu_objects.hpp"
#include "gpu/stream_loop.hpp"

namespace pyperf::bindings {

// Work for a stream as Python holds it: it must not be used while a target over it runs.
template <class Binding>
class HeldBinding : public OneUser {
 public:
  template <class... Arguments>
  explicit HeldBinding(Arguments&&... arguments) : binding_(std::forward<Arguments>(arguments)...) {}

  Binding& binding() { return binding_; }
  void add_target(const std::shared_ptr<Target>& target) { targets_.push_back(target); }

  // For as long as it lives, no target over the binding runs and nobody else uses the binding.
  class Use {
   public:
    explicit Use(HeldBinding& held) : hold_(held) {
      for (const auto& target : held.targets_) {
        if (auto alive = target.lock()) targets_.emplace_back(std::move(alive));
      }
      for (const auto& target : targets_) holds_.emplace_back(*target);
    }

   private:
    OneUser::Hold hold_;
    std::vector<std::shared_ptr<Target>> targets_;
    std::deque<OneUser::Hold> holds_;
  };

 private:
  std::vector<std::weak_ptr<Target>> targets_;
  Binding binding_;
};

// Bindings on a stream each; modes latency and cold run the first.
template <class Held>
class BindingsTarget final : public StreamTarget {
 public:
  using Binding = std::remove_reference_t<decltype(std::declval<Held&>().binding())>;

  BindingsTarget(std::vector<std::shared_ptr<Held>> bindings, const gpu::StreamPlan& plan)
      : bindings_(std::move(bindings)), runner_(works(plan), plan) {}
  gpu::StreamRunner& stream_runner() override { return runner_; }

  static std::shared_ptr<BindingsTarget> make(const std::vector<std::shared_ptr<Held>>& bindings,
                                              const gpu::StreamPlan& plan) {
    auto target = std::make_shared<BindingsTarget>(bindings, plan);
    for (const auto& held : bindings) held->add_target(target);
    return target;
  }

 private:
  std::vector<Binding*> works(const gpu::StreamPlan& plan) {
    std::vector<Binding*> list;
    for (const auto& held : bindings_) {
      if (held == nullptr) throw UsageError("a binding is None");
      if (plan.include_transfers && !held->binding().plan().transfers) {
        throw UsageError("transfers are included, and a model was bound without them");
      }
      list.push_back(&held->binding());
    }
    return list;
  }

  std::vector<std::shared_ptr<Held>> bindings_;
  gpu::StreamLoop<Binding> runner_;
};

}  // namespace pyperf::bindings
