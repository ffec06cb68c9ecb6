// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ort/session.hpp"

namespace pyperf::ort {

// A tensor that a run wrote, still in the library's memory.
struct OutputView {
  std::string name;
  ElementType element_type;
  std::vector<std::int64_t> shape;
  const void* data;
  std::size_t bytes;
};

// A session with its inputs and outputs bound to memory that stays: what the loop runs. Inputs are copied in, once,
// when they are bound. Outputs are bound to the very tensors that a first run gave, so that later runs allocate nothing
// for them; an output that is no tensor of fixed-size elements is left to the library, which makes it anew in every
// run.
class IoBinding {
 public:
  static constexpr bool kNeedsPython = false;

  explicit IoBinding(std::shared_ptr<Session> session);
  ~IoBinding();
  IoBinding(const IoBinding&) = delete;
  IoBinding& operator=(const IoBinding&) = delete;

  // `bytes` of row-major elements; throws InputError where name, shape or size do not fit the model.
  void bind_input(const std::string& name, const void* data, std::size_t bytes, const std::vector<std::int64_t>& shape);

  // Runs once, binds what came out, and runs again to see that it holds. All inputs must be bound.
  void bind_outputs();

  // What the very first run took: lazy work included. 0 before it.
  std::int64_t first_run_ns() const { return first_run_ns_; }

  // What the latest run wrote; views are good until the next run or bind_outputs.
  std::vector<OutputView> outputs() const;

  // Names of the outputs that the library makes anew in every run.
  const std::vector<std::string>& unbound_outputs() const { return unbound_outputs_; }

  void submit() { api_.check(Doing::kRunning, run_(session_handle_, run_options_.get(), binding_.get())); }
  void wait() {}
  void settle() {}

 private:
  using Run = OrtStatus*(OrtSession*, const OrtRunOptions*, const OrtIoBinding*);

  struct Input {
    std::unique_ptr<std::byte, void (*)(void*)> data;
    OrtValue* value;
  };

  std::vector<OrtValue*> bound_outputs() const;
  void bind_output_to_cpu(const std::string& name);
  void require_all_inputs() const;
  bool is_plain_tensor(const OrtValue* value) const;

  std::shared_ptr<Session> session_;
  const Api& api_;
  Run* run_;
  OrtSession* session_handle_;
  Owned<OrtRunOptions> run_options_;
  Owned<OrtMemoryInfo> cpu_memory_;
  Owned<OrtIoBinding> binding_;
  std::map<std::string, Input> inputs_;
  std::vector<OrtValue*> output_values_;
  std::vector<std::string> unbound_outputs_;
  std::int64_t first_run_ns_ = 0;
};

}  // namespace pyperf::ort
