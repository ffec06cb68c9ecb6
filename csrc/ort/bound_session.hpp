// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ort/session.hpp"
#include "ort/tensor.hpp"

namespace pyperf::ort {

// A session with run options and a binding of its own: what the bindings of the host and of a GPU are made of. Outputs
// are bound to the very tensors that a first run gave, so that later runs allocate nothing for them; an output that is
// no tensor of fixed-size elements is left to the library, which makes it anew in every run.
class BoundSession {
 public:
  struct Output {
    std::string name;
    TensorFacts facts;
    void* data;
    bool on_device;
    Owned<OrtValue> value;
  };

  explicit BoundSession(std::shared_ptr<Session> session);

  const Session& session() const { return *session_; }
  const Api& api() const { return api_; }

  void set_run_entry(const char* key, const char* value);
  void bind_input(const std::string& name, const OrtValue* value);

  // Runs once with outputs in `memory` (one for each output of the model), binds what came out, and runs again to see
  // that it holds. `finish` returns when what a run queued is done.
  void bind_outputs(const std::vector<const OrtMemoryInfo*>& memory, const std::function<void()>& finish);

  // Those that are bound, in the model's order.
  const std::vector<Output>& outputs() const { return outputs_; }

  // Names of the outputs that the library makes anew in every run.
  const std::vector<std::string>& unbound_outputs() const { return unbound_outputs_; }

  // What the very first run took: lazy work included. 0 before it.
  std::int64_t first_run_ns() const { return first_run_ns_; }

  // From now on nothing of it is released: for a device that is lost, whose memory cannot be freed any more.
  void abandon();

  void run() { api_.check(Doing::kRunning, run_(session_handle_, run_options_.get(), binding_.get())); }

 private:
  using Run = OrtStatus*(OrtSession*, const OrtRunOptions*, const OrtIoBinding*);

  std::vector<Owned<OrtValue>> output_values() const;

  std::shared_ptr<Session> session_;
  const Api& api_;
  Run* run_;
  OrtSession* session_handle_;
  Owned<OrtRunOptions> run_options_;
  Owned<OrtIoBinding> binding_;
  std::vector<Output> outputs_;
  std::vector<std::string> unbound_outputs_;
  std::int64_t first_run_ns_ = 0;
};

// Throws InputError for the first input of the model that `inputs`, by name, has not.
template <class Inputs>
void require_all_inputs(const Session& session, const Inputs& inputs) {
  for (const auto& input : session.inputs()) {
    if (!inputs.contains(input.name)) throw InputError("input '" + input.name + "' is not bound");
  }
}

}  // namespace pyperf::ort
