// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

// What the fake ONNX Runtime is made of. One thread at a time uses it, as the code under test does.
namespace fake_ort {

struct Status {
  int code;
  std::string message;
};
constexpr int kFail = 1, kInvalidArgument = 2;

struct Driver {
  decltype(&::cuDevicePrimaryCtxRetain) retain;
  decltype(&::cuDevicePrimaryCtxRelease) release;
  decltype(&::cuCtxPushCurrent) push;
  decltype(&::cuCtxPopCurrent) pop;
  decltype(&::cuMemAlloc) allocate;
  decltype(&::cuMemFree) free;
  decltype(&::cuMemcpyDtoH) copy_out;
  decltype(&::cuMemcpyHtoD) copy_in;
  decltype(&::cuGraphLaunch) launch;
  decltype(&::cuStreamSynchronize) synchronize;
  CUgraphExec (*graph)(long long duration_ns);
  int (*destroy)(CUgraphExec);
  int (*copy)(CUgraphExec, CUdeviceptr to, CUdeviceptr from, std::size_t bytes);
};

struct Fault {
  int in_calls;
  std::string message;
};

struct World {
  Driver driver{};
  std::map<std::string, long long> switches;
  std::map<std::string, Fault> faults;
  std::string log;
  long long live = 0;
  void (*logger)(void* param, int severity, const char*, const char*, const char*, const char* message) = nullptr;
  void* logger_param = nullptr;
};
World& world();

inline long long value_of(const char* name) { return world().switches.at(name); }

// Notes the call. Returns the status that it is to fail with, if any.
Status* called(const char* function, const std::string& arguments = "");
Status* status(int code, std::string message);

// An object of the code under test; it counts.
struct Counted {
  Counted() { ++world().live; }
  Counted(const Counted&) { ++world().live; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --world().live; }
};

struct MemoryInfo : Counted {
  bool on_device = false;
  int device = 0;
};

struct Gpu;  // a context of the driver

struct Tensor {
  std::shared_ptr<Gpu> gpu;  // null: memory of the host
  void* data = nullptr;
  std::size_t bytes = 0;
  std::vector<std::int64_t> shape;
  bool owned = false;
  bool is_tensor = true;
  MemoryInfo where;
  ~Tensor();
};

struct Value : Counted {
  std::shared_ptr<Tensor> tensor;  // null where a run has not filled it
};

struct RunOptions : Counted {
  std::map<std::string, std::string> entries;
};

struct ProviderOptions : Counted {
  std::map<std::string, std::string> text;
  CUstream stream = nullptr;
};

struct SessionOptions : Counted {
  bool has_cuda = false;
  std::map<std::string, std::string> text;
  CUstream stream = nullptr;
};

struct Binding : Counted {
  std::shared_ptr<Tensor> x;
  struct Output {
    bool on_device = true;
    std::shared_ptr<Tensor> tensor;
  };
  std::map<std::string, Output> outputs;
};

struct Session : Counted {
  explicit Session(const SessionOptions& options);
  ~Session();
  Status* run(const RunOptions& options, Binding& binding);
  std::vector<std::string> output_names() const;

  std::shared_ptr<Gpu> gpu;
  CUstream stream;
  bool captures;
  CUgraphExec captured = nullptr;
  CUdeviceptr kept = 0;  // what a graph copies to y, where that is not x
  std::vector<CUgraphExec> graphs;

 private:
  Status* fill(Binding& binding);
  CUgraphExec graph_of(const Tensor& x, const Tensor& y);
};

std::string text_of(const char* const* keys, const char* const* values, std::size_t count);

}  // namespace fake_ort
