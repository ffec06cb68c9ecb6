// SPDX-License-Identifier: Apache-2.0
#include "ort/session.hpp"

#include <algorithm>
#include <map>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "ort/owned.hpp"

namespace pyperf::ort {
namespace {

template <class Choices>
int choose(const Choices& choices, const std::string& name, const char* what) {
  if (const auto found = choices.find(name); found != choices.end()) return found->second;
  std::string known;
  for (const auto& [choice, _] : choices) known += (known.empty() ? "" : ", ") + choice;
  throw UsageError(std::string(what) + " '" + name + "' is unknown; it can be " + known);
}

int optimization_level(const std::string& name) {
  static const std::map<std::string, int> kLevels{
      {"disabled", 0}, {"basic", 1}, {"extended", 2}, {"layout", 3}, {"all", 99}};
  return choose(kLevels, name, "optimisation level");
}

int execution_mode(const std::string& name) {
  static const std::map<std::string, int> kModes{{"sequential", 0}, {"parallel", 1}};
  return choose(kModes, name, "execution mode");
}

struct Arrays {
  std::vector<const char*> keys;
  std::vector<const char*> values;

  explicit Arrays(const KeyValues& pairs) {
    for (const auto& [key, value] : pairs) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
  }
};

// CUDA and TensorRT take an options object of their own kind, through functions that are alike.
struct GpuProvider {
  Slot create;
  Slot update;
  Slot update_with_value;
  Slot as_string;
  Slot append;
  Slot release;
};

constexpr GpuProvider kCuda{Slot::kCreateCudaProviderOptions,
                            Slot::kUpdateCudaProviderOptions,
                            Slot::kUpdateCudaProviderOptionsWithValue,
                            Slot::kGetCudaProviderOptionsAsString,
                            Slot::kAppendCudaV2,
                            Slot::kReleaseCudaProviderOptions};
constexpr GpuProvider kTensorRt{Slot::kCreateTensorRtProviderOptions,
                                Slot::kUpdateTensorRtProviderOptions,
                                Slot::kUpdateTensorRtProviderOptionsWithValue,
                                Slot::kGetTensorRtProviderOptionsAsString,
                                Slot::kAppendTensorRtV2,
                                Slot::kReleaseTensorRtProviderOptions};

// Those given, and the device of the stream.
KeyValues with_device(const SessionOptions& options) {
  KeyValues pairs = options.provider_options;
  if (options.stream == nullptr) return pairs;
  const std::string device = std::to_string(options.stream->context().facts().ordinal);
  for (const auto& [key, value] : options.provider_options) {
    if (key == "user_compute_stream" || key == "has_user_compute_stream") {
      throw UsageError("provider option " + key + " is set by this tool, which brings the stream");
    }
    if (key != "device_id") continue;
    if (value == device) return pairs;
    throw UsageError("provider option device_id=" + value + " contradicts the device: the stream is on GPU " + device);
  }
  pairs.emplace_back("device_id", device);
  return pairs;
}

// Returns the options as the provider understood them. The call that takes text sets all the others to their defaults,
// so that the stream, a pointer, comes after.
template <class Options>
std::string append_with_options(const Api& api, OrtSessionOptions* session, const SessionOptions& given,
                                const GpuProvider& provider) {
  const KeyValues pairs = with_device(given);
  const Arrays arrays(pairs);
  Owned<Options> options(api, provider.release);
  api.call<Options**>(Doing::kConfiguring, provider.create, options.out());
  api.call<Options*, const char* const*, const char* const*, std::size_t>(Doing::kConfiguring, provider.update,
                                                                          options.get(), arrays.keys.data(),
                                                                          arrays.values.data(), arrays.keys.size());
  if (given.stream != nullptr) {
    api.call<Options*, const char*, void*>(Doing::kConfiguring, provider.update_with_value, options.get(),
                                           "user_compute_stream", given.stream->handle());
  }
  OrtAllocator* allocator = nullptr;
  api.call<OrtAllocator**>(Doing::kConfiguring, Slot::kGetAllocatorWithDefaultOptions, &allocator);
  char* text = nullptr;
  api.call<const Options*, OrtAllocator*, char**>(Doing::kConfiguring, provider.as_string, options.get(), allocator,
                                                  &text);
  std::string effective = text;
  api.call<OrtAllocator*, void*>(Doing::kConfiguring, Slot::kAllocatorFree, allocator, text);
  api.call<OrtSessionOptions*, const Options*>(Doing::kConfiguring, provider.append, session, options.get());
  return effective;
}

// Returns the provider's effective options, where it tells them.
std::string append_provider(const Environment& environment, OrtSessionOptions* session, const SessionOptions& options) {
  const auto available = environment.available_providers();
  if (std::find(available.begin(), available.end(), options.provider) == available.end()) {
    std::string there;
    for (const auto& name : available) there += (there.empty() ? "" : ", ") + name;
    throw BackendError("provider '" + options.provider + "' is not in this build of ONNX Runtime " +
                       environment.version() + "; it has " + there);
  }
  const Api& api = environment.api();
  if (options.provider == "CUDAExecutionProvider") {
    return append_with_options<OrtCudaProviderOptions>(api, session, options, kCuda);
  }
  if (options.provider == "TensorrtExecutionProvider") {
    return append_with_options<OrtTensorRtProviderOptions>(api, session, options, kTensorRt);
  }
  if (options.stream != nullptr) throw UsageError(options.provider + " takes no stream of a GPU");
  const Arrays pairs(options.provider_options);
  if (options.provider == "CPUExecutionProvider") {
    if (pairs.keys.empty()) return "";
    throw UsageError("CPUExecutionProvider has no provider options, and '" + options.provider_options[0].first +
                     "' was given; session options may be meant");
  }
  const std::string suffix = "ExecutionProvider";  // the general call wants "XNNPACK", not "XNNPACKExecutionProvider"
  auto short_name = options.provider;
  if (short_name.ends_with(suffix)) short_name.resize(short_name.size() - suffix.size());
  api.call<OrtSessionOptions*, const char*, const char* const*, const char* const*, std::size_t>(
      Doing::kConfiguring, Slot::kAppendExecutionProvider, session, short_name.c_str(), pairs.keys.data(),
      pairs.values.data(), pairs.keys.size());
  return "";
}

// Returns as append_provider.
std::string apply(const Environment& environment, OrtSessionOptions* session, const SessionOptions& options) {
  const Api& api = environment.api();
  const auto set_int = [&](Slot slot, int value) {
    api.call<OrtSessionOptions*, int>(Doing::kConfiguring, slot, session, value);
  };
  set_int(Slot::kSetSessionGraphOptimizationLevel, optimization_level(options.optimization_level));
  set_int(Slot::kSetSessionExecutionMode, execution_mode(options.execution_mode));
  set_int(Slot::kSetIntraOpNumThreads, options.intra_op_threads);
  set_int(Slot::kSetInterOpNumThreads, options.inter_op_threads);
  for (const auto& [key, value] : options.config_entries) {
    api.call<OrtSessionOptions*, const char*, const char*>(Doing::kConfiguring, Slot::kAddSessionConfigEntry, session,
                                                           key.c_str(), value.c_str());
  }
  const auto set_path = [&](Slot slot, const std::string& path) {
    if (!path.empty()) api.call<OrtSessionOptions*, const char*>(Doing::kConfiguring, slot, session, path.c_str());
  };
  set_path(Slot::kEnableProfiling, options.profile_prefix);
  set_path(Slot::kSetOptimizedModelFilePath, options.optimized_model_path);
  return append_provider(environment, session, options);
}

TensorInfo describe_tensor(const Api& api, const OrtTypeInfo* type) {
  TensorInfo info;
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;  // a view into `type`
  api.call<const OrtTypeInfo*, const OrtTensorTypeAndShapeInfo**>(Doing::kLoading, Slot::kCastTypeInfoToTensorInfo,
                                                                  type, &tensor);
  info.is_tensor = tensor != nullptr;
  if (!info.is_tensor) return info;
  std::size_t rank = 0;
  api.call<const OrtTensorTypeAndShapeInfo*, int*>(Doing::kLoading, Slot::kGetTensorElementType, tensor,
                                                   &info.element_type);
  api.call<const OrtTensorTypeAndShapeInfo*, std::size_t*>(Doing::kLoading, Slot::kGetDimensionsCount, tensor, &rank);
  info.shape.resize(rank);
  std::vector<const char*> symbols(rank, nullptr);
  api.call<const OrtTensorTypeAndShapeInfo*, std::int64_t*, std::size_t>(Doing::kLoading, Slot::kGetDimensions, tensor,
                                                                         info.shape.data(), rank);
  api.call<const OrtTensorTypeAndShapeInfo*, const char**, std::size_t>(Doing::kLoading, Slot::kGetSymbolicDimensions,
                                                                        tensor, symbols.data(), rank);
  for (const char* symbol : symbols) info.symbols.emplace_back(symbol == nullptr ? "" : symbol);
  return info;
}

}  // namespace

Session::Session(Environment& environment, const std::string& model_path, const SessionOptions& options)
    : environment_(environment), stream_(options.stream), session_(environment.api(), Slot::kReleaseSession) {
  Owned<OrtSessionOptions> session_options(api(), Slot::kReleaseSessionOptions);
  api().call<OrtSessionOptions**>(Doing::kConfiguring, Slot::kCreateSessionOptions, session_options.out());
  effective_provider_options_ = apply(environment, session_options.get(), options);
  const std::int64_t begin_ns = SteadyClock::now_ns();
  api().call<const OrtEnv*, const char*, const OrtSessionOptions*, OrtSession**>(
      Doing::kLoading, Slot::kCreateSession, environment.handle(), model_path.c_str(), session_options.get(),
      session_.out());
  create_ns_ = SteadyClock::now_ns() - begin_ns;
  inputs_ = describe(Slot::kSessionGetInputCount, Slot::kSessionGetInputName, Slot::kSessionGetInputTypeInfo);
  outputs_ = describe(Slot::kSessionGetOutputCount, Slot::kSessionGetOutputName, Slot::kSessionGetOutputTypeInfo);
}

Session::~Session() {
  // To free memory of a lost device fails, or waits for ever.
  if (stream_ != nullptr && stream_->context().is_lost()) session_.abandon();
}

std::vector<TensorInfo> Session::describe(Slot count_slot, Slot name_slot, Slot type_slot) const {
  std::size_t count = 0;
  api().call<const OrtSession*, std::size_t*>(Doing::kLoading, count_slot, handle(), &count);
  OrtAllocator* allocator = nullptr;  // the library's own, never released
  api().call<OrtAllocator**>(Doing::kLoading, Slot::kGetAllocatorWithDefaultOptions, &allocator);
  std::vector<TensorInfo> described;
  for (std::size_t i = 0; i < count; ++i) {
    Owned<OrtTypeInfo> type(api(), Slot::kReleaseTypeInfo);
    api().call<const OrtSession*, std::size_t, OrtTypeInfo**>(Doing::kLoading, type_slot, handle(), i, type.out());
    described.push_back(describe_tensor(api(), type.get()));
    char* name = nullptr;
    api().call<const OrtSession*, std::size_t, OrtAllocator*, char**>(Doing::kLoading, name_slot, handle(), i,
                                                                      allocator, &name);
    described.back().name = name;
    api().call<OrtAllocator*, void*>(Doing::kLoading, Slot::kAllocatorFree, allocator, name);
  }
  return described;
}

std::string Session::end_profiling() {
  OrtAllocator* allocator = nullptr;
  api().call<OrtAllocator**>(Doing::kRunning, Slot::kGetAllocatorWithDefaultOptions, &allocator);
  char* path = nullptr;
  api().call<OrtSession*, OrtAllocator*, char**>(Doing::kRunning, Slot::kSessionEndProfiling, handle(), allocator,
                                                 &path);
  std::string copy = path;
  api().call<OrtAllocator*, void*>(Doing::kRunning, Slot::kAllocatorFree, allocator, path);
  return copy;
}

}  // namespace pyperf::ort
