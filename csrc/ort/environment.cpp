// SPDX-License-Identifier: Apache-2.0
#include "ort/environment.hpp"

#include <dlfcn.h>

#include <map>
#include <utility>

#include "core/error.hpp"

namespace pyperf::ort {
namespace {

constexpr int kWarning = 2;  // OrtLoggingLevel
constexpr std::size_t kMostLogLines = 100;

struct ApiBase {
  const void* (*GetApi)(std::uint32_t version);
  const char* (*GetVersionString)();
};

// "1.31.1" -> 31: interface N comes with release 1.N.
std::uint32_t api_of(const std::string& version) {
  const auto dot = version.find('.');
  if (version.substr(0, dot) != "1" || dot == std::string::npos) return 0;
  std::uint32_t minor = 0;
  for (auto i = dot + 1; i < version.size() && version[i] >= '0' && version[i] <= '9'; ++i) {
    minor = minor * 10 + static_cast<std::uint32_t>(version[i] - '0');
  }
  return minor;
}

}  // namespace

Environment& Environment::load(const std::string& library_path) {
  static std::mutex mutex;
  static std::map<std::string, Environment*> loaded;  // never emptied, see the class
  const std::lock_guard lock(mutex);
  if (const auto found = loaded.find(library_path); found != loaded.end()) return *found->second;

  void* library = dlopen(library_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    throw BackendError("the ONNX Runtime library " + library_path +
                       " does not load: " + (why ? why : "no reason given"));
  }
  const auto get_base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (get_base == nullptr) {
    dlclose(library);
    throw BackendError(library_path + " is no ONNX Runtime library: it has no OrtGetApiBase");
  }
  const ApiBase* base = get_base();
  const std::string version = base->GetVersionString();
  const std::uint32_t api = api_of(version);
  const void* table = api >= kOldestApi ? base->GetApi(api) : nullptr;
  if (table == nullptr) {
    throw BackendError("ONNX Runtime " + version + " in " + library_path +
                       " is not supported: 1.20 or a later 1.x is needed (pip install -U onnxruntime)");
  }
  auto* environment = new Environment(library_path, version, Api(table, api));
  loaded.emplace(library_path, environment);
  return *environment;
}

Environment::Environment(std::string path, std::string version, Api api)
    : path_(std::move(path)), version_(std::move(version)), api_(api) {
  api_.call<LoggingFunction, void*, int, const char*, OrtEnv**>(
      Doing::kConfiguring, Slot::kCreateEnvWithCustomLogger, &Environment::log, this, kWarning, "pyperf-infer", &env_);
}

void Environment::log(void* self, int, const char*, const char*, const char*, const char* message) {
  auto& environment = *static_cast<Environment*>(self);
  const std::lock_guard lock(environment.log_mutex_);
  if (environment.log_.size() == kMostLogLines) environment.log_.erase(environment.log_.begin());
  environment.log_.emplace_back(message);
}

std::vector<std::string> Environment::take_log() {
  const std::lock_guard lock(log_mutex_);
  return std::exchange(log_, {});
}

std::vector<std::string> Environment::available_providers() const {
  char** names = nullptr;
  int count = 0;
  api_.call<char***, int*>(Doing::kConfiguring, Slot::kGetAvailableProviders, &names, &count);
  std::vector<std::string> providers(names, names + count);
  api_.call<char**, int>(Doing::kConfiguring, Slot::kReleaseAvailableProviders, names, count);
  return providers;
}

}  // namespace pyperf::ort
