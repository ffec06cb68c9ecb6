// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ort/bound_session.hpp"

namespace pyperf::ort {

// A session with its inputs and outputs bound to memory of the host that stays: what the loop runs. Inputs are copied
// in, once, when they are bound.
class IoBinding {
 public:
  static constexpr bool kNeedsPython = false;

  explicit IoBinding(std::shared_ptr<Session> session);

  // `bytes` of row-major elements; throws InputError where name, shape or size do not fit the model.
  void bind_input(const std::string& name, const void* data, std::size_t bytes, const std::vector<std::int64_t>& shape);

  // Runs twice; all inputs must be bound.
  void bind_outputs();

  // As in BoundSession.
  std::int64_t first_run_ns() const { return bound_.first_run_ns(); }
  const std::vector<std::string>& unbound_outputs() const { return bound_.unbound_outputs(); }

  // What the latest run wrote; views are good until the next run or bind_outputs.
  std::vector<OutputView> outputs() const;

  void submit() { bound_.run(); }
  void wait() {}
  void settle() {}

 private:
  struct Input {
    std::unique_ptr<std::byte, void (*)(void*)> data;
    Owned<OrtValue> value;
  };

  BoundSession bound_;
  Owned<OrtMemoryInfo> memory_;
  std::map<std::string, Input> inputs_;
};

}  // namespace pyperf::ort
