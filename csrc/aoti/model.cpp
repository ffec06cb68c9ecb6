// SPDX-License-Identifier: Apache-2.0
#include "aoti/model.hpp"

#include <dlfcn.h>

#include <string>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace pyperf::aoti {
namespace {

using Container = Model::Container;
using Create = Code(Container**, std::size_t models, const char* device, const char* cubin_folder);
using Delete = Code(Container*);
using GetCount = Code(Container*, std::size_t*);
using GetName = Code(Container*, std::size_t, const char**);

// A backtrace of libtorch's may follow it.
std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

template <class Function>
Function* Model::find(const char* name) const {
  auto* function = reinterpret_cast<Function*>(dlsym(handle_, name));
  if (function != nullptr) return function;
  throw BackendError(library_ + " is no model that AOTInductor of torch 2.9 or newer has compiled: it has no " + name);
}

// The library is never unloaded once it was loaded. Threads of OpenMP's pool and destructors of its thread-local
// objects may still run its code, and unloading it before them would end the process. What stays is address space: the
// pages of the file go when memory is needed, and the container's own memory is freed.
Model::Model(std::string library, const Libtorch& torch, const std::string& device, const std::string& cubin_folder)
    : library_(std::move(library)), torch_(torch) {
  const std::int64_t begin_ns = SteadyClock::now_ns();
  handle_ = dlopen(library_.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    const char* why = dlerror();
    throw BackendError("the compiled model " + library_ + " does not load: " + (why ? why : "no reason given"));
  }
  run_ = find<Run>("AOTInductorModelContainerRun");
  run_single_threaded_ = find<Run>("AOTInductorModelContainerRunSingleThreaded");
  const auto create = find<Create>("AOTInductorModelContainerCreateWithDevice");
  find<Delete>("AOTInductorModelContainerDelete");
  check(create(&container_, 1, device.c_str(), cubin_folder.empty() ? nullptr : cubin_folder.c_str()),
        "AOTInductorModelContainerCreateWithDevice");
  try {
    read_names();
  } catch (...) {
    find<Delete>("AOTInductorModelContainerDelete")(container_);
    throw;
  }
  create_ns_ = SteadyClock::now_ns() - begin_ns;
}

Model::~Model() {
  if (container_ != nullptr) find<Delete>("AOTInductorModelContainerDelete")(container_);
}

void Model::read_names() {
  const auto read = [this](const char* count_entry, const char* name_entry, std::vector<std::string>& names) {
    const auto count_of = find<GetCount>(count_entry);
    const auto name_of = find<GetName>(name_entry);
    std::size_t count = 0;
    check(count_of(container_, &count), count_entry);
    for (std::size_t i = 0; i < count; ++i) {
      const char* name = nullptr;
      check(name_of(container_, i, &name), name_entry);
      names.emplace_back(name);
    }
  };
  read("AOTInductorModelContainerGetNumInputs", "AOTInductorModelContainerGetInputName", input_names_);
  read("AOTInductorModelContainerGetNumOutputs", "AOTInductorModelContainerGetOutputName", output_names_);
}

void Model::check(Code code, const char* call) const {
  if (code != 0) fail(call);
}

// Newer libraries keep the text of this thread's latest failure; all write it to standard error.
void Model::fail(const char* call) const {
  const auto last_error = reinterpret_cast<Code (*)(const char**)>(dlsym(handle_, "AOTInductorGetLastError"));
  const char* text = nullptr;
  const bool told = last_error != nullptr && last_error(&text) == 0 && text != nullptr && *text != '\0';
  const std::string why = told ? first_line(text) : "it has written why to standard error";
  const std::string message = "the compiled model failed in " + std::string(call) + ": " + why + " (" + library_ + ")";
  if (why.find("can't allocate memory") != std::string::npos || why.find("out of memory") != std::string::npos) {
    throw OutOfMemoryError(message);
  }
  throw MeasurementError(message);
}

}  // namespace pyperf::aoti
