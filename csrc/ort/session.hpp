// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpu/stream.hpp"
#include "ort/element_type.hpp"
#include "ort/environment.hpp"
#include "ort/owned.hpp"

namespace pyperf::ort {

using KeyValues = std::vector<std::pair<std::string, std::string>>;

struct SessionOptions {
  int intra_op_threads = 0;  // 0: the library decides
  int inter_op_threads = 0;
  std::string optimization_level = "all";     // disabled, basic, extended, layout (from 1.22), all
  std::string execution_mode = "sequential";  // or parallel
  std::string provider = "CPUExecutionProvider";
  KeyValues provider_options;
  KeyValues config_entries;
  std::shared_ptr<const gpu::StreamView> stream;  // for CUDA and TensorRT: all work goes there; keeps its owner
  std::string profile_prefix;                     // empty: no profile
  std::string optimized_model_path;               // empty: not saved
};

struct TensorInfo {
  std::string name;
  bool is_tensor = true;  // false: a sequence, map or optional
  ElementType element_type = 0;
  std::vector<std::int64_t> shape;   // -1 where open
  std::vector<std::string> symbols;  // names of open dimensions, "" where there is none
};

class Session {
 public:
  // Throws InputError for a model that does not load, BackendError for a provider or option that is refused, UsageError
  // for provider options that contradict the stream.
  Session(Environment& environment, const std::string& model_path, const SessionOptions& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Environment& environment() const { return environment_; }
  const Api& api() const { return environment_.api(); }
  OrtSession* handle() const { return session_.get(); }
  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  const std::vector<TensorInfo>& outputs() const { return outputs_; }
  std::int64_t create_ns() const { return create_ns_; }

  // Null where it is on none.
  const std::shared_ptr<const gpu::StreamView>& stream() const { return stream_; }

  // What CUDA or TensorRT make of the options, defaults included: "device_id=0;use_tf32=0;...". Empty for others.
  const std::string& effective_provider_options() const { return effective_provider_options_; }

  // Writes the profile of the runs so far and returns its path; only with options.profile_prefix.
  std::string end_profiling();

 private:
  std::vector<TensorInfo> describe(Slot count, Slot name, Slot type) const;

  Environment& environment_;
  std::shared_ptr<const gpu::StreamView> stream_;  // outlives the session
  std::string effective_provider_options_;
  Owned<OrtSession> session_;
  std::vector<TensorInfo> inputs_;
  std::vector<TensorInfo> outputs_;
  std::int64_t create_ns_ = 0;
};

}  // namespace pyperf::ort
