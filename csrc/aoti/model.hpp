// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "aoti/libtorch.hpp"

namespace pyperf::aoti {

// A model that AOTInductor has compiled: its library and the container in it that holds the weights. Its functions are
// found by name; their types are those of torch/csrc/inductor/aoti_runtime/interface.h.
class Model {
 public:
  struct Container;
  using Run = Code(Container*, TensorHandle* inputs, std::size_t input_count, TensorHandle* outputs,
                   std::size_t output_count, void* stream, void* proxy_executor);

  // `device` as "cpu" or "cuda:0"; `cubin_folder` is where a GPU's kernels are, "" for those in the library itself.
  // Throws BackendError where the library does not load or is no compiled model, MeasurementError where making the
  // container fails.
  Model(std::string library, const Libtorch& torch, const std::string& device, const std::string& cubin_folder);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const Libtorch& torch() const { return torch_; }
  const std::string& library() const { return library_; }
  const std::vector<std::string>& input_names() const { return input_names_; }
  const std::vector<std::string>& output_names() const { return output_names_; }

  // What loading the library and its weights took.
  std::int64_t create_ns() const { return create_ns_; }

  Container* container() const { return container_; }

  // Takes a lock, and waits for what the latest run has queued on a GPU. What torch's own loader calls.
  Run* run() const { return run_; }

  // Neither: for one caller at a time.
  Run* run_single_threaded() const { return run_single_threaded_; }

  // Throws MeasurementError for `call`, with the library's own text where it keeps one.
  [[noreturn]] void fail(const char* call) const;

  // From now on nobody deletes the container: for a device that is lost, whose memory cannot be freed any more.
  void abandon() { container_ = nullptr; }

 private:
  template <class Function>
  Function* find(const char* name) const;
  void check(Code code, const char* call) const;
  void read_names();

  std::string library_;
  const Libtorch& torch_;
  void* handle_ = nullptr;
  Container* container_ = nullptr;
  Run* run_ = nullptr;
  Run* run_single_threaded_ = nullptr;
  std::vector<std::string> input_names_;
  std::vector<std::string> output_names_;
  std::int64_t create_ns_ = 0;
};

}  // namespace pyperf::aoti
