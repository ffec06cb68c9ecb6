// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "fake_ort.h"
#include "world.hpp"

namespace fake_ort {
namespace {

const std::map<std::string, long long> kDefaults{
    {"run_ns", 100'000}, {"synchronises", 0}, {"stale", 0},        {"idle", 0},      {"constant", 0},
    {"host_output", 0},  {"other_output", 0}, {"memcpy_nodes", 0}, {"cpu_nodes", 0}, {"version", 31},
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
  Driver driver{};
  CUresult (*get)(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*) = nullptr;
  find(library, "cuGetProcAddress_v2", get);
  const auto ask = [&](const char* name, auto& function) {
    void* address = nullptr;
    get(name, &address, 12000, CU_GET_PROC_ADDRESS_DEFAULT, nullptr);
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  };
  ask("cuDevicePrimaryCtxRetain", driver.retain);
  ask("cuDevicePrimaryCtxRelease", driver.release);
  ask("cuCtxPushCurrent", driver.push);
  ask("cuCtxPopCurrent", driver.pop);
  ask("cuMemAlloc", driver.allocate);
  ask("cuMemFree", driver.free);
  ask("cuMemcpyDtoH", driver.copy_out);
  ask("cuMemcpyHtoD", driver.copy_in);
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

Status* status(int code, std::string message) { return new Status{code, std::move(message)}; }

Status* called(const char* function, const std::string& arguments) {
  World& all = world();
  all.log += function + (arguments.empty() ? "" : " " + arguments) + "\n";
  const auto fault = all.faults.find(function);
  if (fault == all.faults.end() || --fault->second.in_calls > 0) return nullptr;
  auto* failure = status(kFail, fault->second.message);
  all.faults.erase(fault);
  return failure;
}

std::string text_of(const char* const* keys, const char* const* values, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += (i ? " " : "") + std::string(keys[i]) + "=" + values[i];
  return text;
}

}  // namespace fake_ort

using fake_ort::world;

void fake_ort_reset(const char* driver) {
  world().driver = fake_ort::load(driver);
  world().switches = fake_ort::kDefaults;
  world().faults.clear();
  world().log.clear();
}

int fake_ort_set(const char* name, long long value) {
  const auto found = world().switches.find(name);
  if (found == world().switches.end()) return -1;
  found->second = value;
  return 0;
}

void fake_ort_fail(const char* function, int nth_call, const char* message) {
  world().faults[function] = {nth_call, message};
}

long long fake_ort_live() { return world().live; }

unsigned long fake_ort_log(char* text, unsigned long size, int clear) {
  const std::string& log = world().log;
  const auto length = log.size();
  if (size > 0) {
    const auto copied = std::min<std::size_t>(size - 1, length);
    std::memcpy(text, log.data(), copied);
    text[copied] = '\0';
  }
  if (clear != 0) world().log.clear();
  return length;
}
