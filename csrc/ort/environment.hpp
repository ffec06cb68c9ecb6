// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ort/api.hpp"

namespace pyperf::ort {

// A loaded ONNX Runtime library with its environment. Loaded once for each path and never unloaded: its threads may
// still run when the last session is gone.
class Environment {
 public:
  // Throws BackendError where the file is no ONNX Runtime, or one older than 1.20.
  static Environment& load(const std::string& library_path);

  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  const Api& api() const { return api_; }
  const std::string& version() const { return version_; }
  const std::string& path() const { return path_; }
  OrtEnv* handle() const { return env_; }
  std::vector<std::string> available_providers() const;

  // The warnings and errors that the library logged since the last call, oldest first; the newest 100 at most.
  std::vector<std::string> take_log();

 private:
  Environment(std::string path, std::string version, Api api);
  static void log(void* self, int severity, const char* category, const char* log_id, const char* code_location,
                  const char* message);

  std::string path_;
  std::string version_;
  Api api_;
  OrtEnv* env_ = nullptr;
  std::mutex log_mutex_;
  std::vector<std::string> log_;
};

}  // namespace pyperf::ort
