// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

namespace fake_aoti {
namespace {

const std::map<std::string, long long> kDefaults{
    {"inputs", 1},       {"outputs", 1}, {"run_ns", 100'000}, {"waits", 0},     {"keeps_inputs", 0},
    {"null_outputs", 0}, {"offset", 0},  {"reversed", 0},     {"odd_dtype", 0}, {"longer", 0},
    {"host_outputs", 0}, {"silent", 0},  {"repeated", 0},
};

template <class Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function != nullptr) return;
  std::fprintf(stderr, "the fake driver has no %s\n", name);
  std::abort();
}

Driver load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    std::abort();
  }
  Driver driver;
  CUresult (*get)(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*) = nullptr;
  find(library, "cuGetProcAddress_v2", get);
  const auto ask = [&](const char* name, auto& function) {
    void* address = nullptr;
    get(name, &address, 12000, CU_GET_PROC_ADDRESS_DEFAULT, nullptr);
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  };
  ask("cuMemAlloc", driver.allocate);
  ask("cuMemFree", driver.free);
  ask("cuGraphLaunch", driver.launch);
  ask("cuStreamSynchronize", driver.synchronize);
  find(library, "fake_graph_create", driver.graph);
  find(library, "fake_graph_destroy", driver.destroy);
  find(library, "fake_graph_copy", driver.copy);
  return driver;
}

}  // namespace

World& world() {
  static auto* const all = [] {  // never destroyed: objects may outlive main
    auto* made = new World;
    made->switches = kDefaults;
    return made;
  }();
  return *all;
}

bool called(const char* function, const std::string& suffix) {
  World& all = world();
  if (all.logs) {
    std::string name = function;
    for (const char* prefix : {"aoti_torch_", "AOTInductorModelContainer"}) {
      if (name.starts_with(prefix)) name.erase(0, std::strlen(prefix));
    }
    all.log += name + suffix + "\n";
  }
  const auto fault = all.faults.find(function);
  if (fault == all.faults.end() || --fault->second > 0) return true;
  all.faults.erase(fault);
  all.failure = std::string(function) + " failed as it was told to";
  std::fprintf(stderr, "Error: %s\n", all.failure.c_str());
  return false;
}

bool knows(const Handle* handle) {
  if (world().handles.contains(const_cast<Handle*>(handle))) return true;
  ++world().misused;
  return false;
}

Handle* new_handle(std::shared_ptr<Tensor> tensor) {
  auto* handle = new Handle{std::move(tensor)};
  world().handles.insert(handle);
  return handle;
}

void delete_handle(Handle* handle) {
  world().handles.erase(handle);
  delete handle;
}

Storage::~Storage() {
  if (device != 0) world().cache.emplace(bytes, device);
}

std::size_t Tensor::element_bytes() const {
  static constexpr std::array<std::size_t, 15> kBytes{1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 8, 16};
  const auto index = static_cast<std::size_t>(dtype - kFirstDtype);
  return index < kBytes.size() ? kBytes[index] : 4;
}

std::size_t Tensor::span_bytes() const {
  std::size_t last = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return 0;
    last += static_cast<std::size_t>((sizes[i] - 1) * strides[i]);
  }
  return (last + 1) * element_bytes();
}

}  // namespace fake_aoti

using fake_aoti::world;

void fake_aoti_reset(const char* driver) {
  world().driver = driver == nullptr ? fake_aoti::Driver{} : fake_aoti::load(driver);
  world().switches = fake_aoti::kDefaults;
  world().faults.clear();
  world().cache.clear();  // the driver forgets its memory too
  world().misused = 0;
  world().logs = false;
  world().log.clear();
}

int fake_aoti_set(const char* name, long long value) {
  const auto found = world().switches.find(name);
  if (found == world().switches.end()) return -1;
  found->second = value;
  return 0;
}

void fake_aoti_fail(const char* function, int nth_call) { world().faults[function] = nth_call; }

long long fake_aoti_count(const char* what) {
  const std::string name = what;
  if (name == "handles") return static_cast<long long>(world().handles.size());
  if (name == "containers") return static_cast<long long>(world().containers.size());
  return name == "misused" ? world().misused : -1;
}

void fake_aoti_empty_cache() {
  for (const auto& [bytes, device] : world().cache) world().driver.free(device);
  world().cache.clear();
}

void fake_aoti_log(bool on) {
  world().logs = on;
  if (on) world().log.clear();
}

void fake_aoti_note(const char* line) {
  if (world().logs) world().log += std::string(line) + "\n";
}

unsigned long fake_aoti_log_text(char* text, unsigned long size) {
  const std::string& log = world().log;
  if (size > 0) {
    const auto copied = std::min<std::size_t>(size - 1, log.size());
    std::memcpy(text, log.data(), copied);
    text[copied] = '\0';
  }
  return log.size();
}
