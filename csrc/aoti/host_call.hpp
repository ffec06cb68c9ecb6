// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "aoti/bound_model.hpp"

namespace pyperf::aoti {

// A compiled model on the CPU: what the loop runs. It goes through the entry point that torch's own loader calls, lock
// and all, so that what the loader adds is the difference.
//
// settle() lies outside of the window of modes latency and cold. A period in mode throughput, and what many calls
// between two readings of the clock take, hold it: to free what was given is part of serving one request after another.
class HostCall {
 public:
  static constexpr bool kNeedsPython = false;
  using BatchScope = CallScope<HostCall>;

  explicit HostCall(std::shared_ptr<Model> model) : bound_(std::move(model), BoundModel::Entry::kRun) {}

  const Libtorch& torch() const { return bound_.torch(); }
  void bind(const std::vector<Blob>& inputs) { bound_.bind(inputs); }

  void submit() { bound_.run(); }
  void wait() {}
  void settle() { bound_.settle(); }

  void run_once() {
    const BatchScope scope(*this);
    bound_.run();
    bound_.settle();
  }

  // Runs once.
  std::vector<OutputCopy> outputs() {
    const BatchScope scope(*this);
    bound_.run();
    std::vector<OutputCopy> copies;
    for (auto& facts : bound_.output_facts()) {
      std::vector<std::byte> bytes(facts.bytes);
      if (!bytes.empty()) std::memcpy(bytes.data(), facts.data, bytes.size());
      copies.push_back({std::move(facts), std::move(bytes)});
    }
    bound_.settle();
    return copies;
  }

 private:
  BoundModel bound_;
};

}  // namespace pyperf::aoti
