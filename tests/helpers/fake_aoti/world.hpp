// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "fake_aoti.h"

// What the fake AOTInductor is made of.
namespace fake_aoti {

constexpr int kCpu = 70, kCuda = 71, kStrided = 72;  // not torch's own numbers, so that a constant in their place shows
constexpr int kFirstDtype = 100, kOddDtype = 199;

struct Driver {
  decltype(&::cuMemAlloc) allocate = nullptr;
  decltype(&::cuMemFree) free = nullptr;
  decltype(&::cuGraphLaunch) launch = nullptr;
  decltype(&::cuStreamSynchronize) synchronize = nullptr;
  CUgraphExec (*graph)(long long duration_ns) = nullptr;
  int (*destroy)(CUgraphExec) = nullptr;
  int (*copy)(CUgraphExec, CUdeviceptr to, CUdeviceptr from, std::size_t bytes) = nullptr;
};

// Memory that an output lies in; goes back to the cache where it is a GPU's.
struct Storage {
  ~Storage();
  std::vector<char> host;
  CUdeviceptr device = 0;
  std::size_t bytes = 0;
};

struct Tensor {
  std::shared_ptr<Storage> storage;  // null where somebody else owns the memory
  char* data = nullptr;              // of the first element
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
  int dtype = 0;
  int device_type = kCpu;
  std::size_t element_bytes() const;
  std::size_t span_bytes() const;
};

struct Handle {
  std::shared_ptr<Tensor> tensor;
};

struct Container {
  long long inputs;
  long long outputs;
  bool on_gpu;
  std::vector<std::string> names;
};

struct World {
  Driver driver{};
  std::map<std::string, long long> switches;
  std::map<std::string, int> faults;
  std::set<Handle*> handles;
  std::set<Container*> containers;
  std::multimap<std::size_t, CUdeviceptr> cache;
  long long misused = 0;
  bool logs = false;
  std::string log;
  std::string failure;
};
World& world();

inline long long value_of(const char* name) { return world().switches.at(name); }

// Notes the call in the log. False where it is to fail.
bool called(const char* function, const std::string& suffix = "");

// Whether the call may go on with that handle.
bool knows(const Handle* handle);

Handle* new_handle(std::shared_ptr<Tensor> tensor);
void delete_handle(Handle* handle);
bool grad_mode();

}  // namespace fake_aoti
