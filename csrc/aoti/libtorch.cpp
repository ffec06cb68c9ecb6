// SPDX-License-Identifier: Apache-2.0
#include "aoti/libtorch.hpp"

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <type_traits>

#include "core/error.hpp"

namespace pyperf::aoti {
namespace {

template <class Function>
void find(void* library, const std::string& path, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  if (function != nullptr) return;
  throw BackendError(path + " has no function " + name + ", which compiled models are run with; torch 2.9 or newer " +
                     "has it (pip install -U torch)");
}

}  // namespace

const Libtorch& Libtorch::loaded(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, const Libtorch*> all;  // never emptied: compiled models point into the library
  const std::lock_guard lock(mutex);
  if (const auto found = all.find(path); found != all.end()) return *found->second;
  const auto* torch = new Libtorch(path);
  all.emplace(path, torch);
  return *torch;
}

Libtorch::Libtorch(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (library == nullptr) {
    throw BackendError("PyTorch's library " + path + " is not loaded in this process; import torch comes first");
  }
  try {
#define PYPERF_FIND(name, ...) find(library, path, "aoti_torch_" #name, name);
    PYPERF_SHIM_FUNCTIONS(PYPERF_FIND)
#undef PYPERF_FIND
    for (const auto& dtype : dtypes()) {
      std::int32_t (*number)() = nullptr;
      find(library, path, dtype.entry, number);
      numbers_.push_back(number());
    }
  } catch (const Error&) {
    dlclose(library);
    throw;
  }
}

std::int32_t Libtorch::number_of(const std::string& dtype) const {
  std::string known;
  for (std::size_t i = 0; i < numbers_.size(); ++i) {
    if (dtype == dtypes()[i].name) return numbers_[i];
    known += (i ? ", " : "") + std::string(dtypes()[i].name);
  }
  throw InputError("tensors of type '" + dtype + "' cannot be bound; the types are " + known);
}

const Dtype* Libtorch::dtype_of(std::int32_t number) const {
  for (std::size_t i = 0; i < numbers_.size(); ++i) {
    if (number == numbers_[i]) return &dtypes()[i];
  }
  return nullptr;
}

void Libtorch::fail(const char* call) const {
  throw MeasurementError("PyTorch's library refused " + std::string(call) + "; it has written why to standard error");
}

}  // namespace pyperf::aoti
