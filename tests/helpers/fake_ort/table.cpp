// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "world.hpp"

// The functions of the interface, each with the C types of the public header; handles are the objects of world.hpp.
namespace fake_ort {
namespace {

constexpr std::size_t kSlots = 425;
constexpr int kFloat = 1;  // ONNXTensorElementDataType

int environment;
int allocator;

struct TypeInfo : Counted {
  bool is_tensor = true;
};
struct ShapeInfo : Counted {
  std::vector<std::int64_t> shape;
};

template <class Object>
void release(Object* object) {
  delete object;
}

// ---- environment, options

Status* create_env(void (*logger)(void*, int, const char*, const char*, const char*, const char*), void* param, int,
                   const char*, int** out) {
  world().logger = logger;
  world().logger_param = param;
  *out = &environment;
  return called("CreateEnvWithCustomLogger");
}

Status* available_providers(char*** out, int* count) {
  static char cuda[] = "CUDAExecutionProvider", cpu[] = "CPUExecutionProvider";
  static char* names[] = {cuda, cpu};
  *out = names;
  *count = 2;
  return nullptr;
}
Status* release_providers(char**, int) { return nullptr; }

Status* create_session_options(SessionOptions** out) {
  *out = new SessionOptions;
  return nullptr;
}
Status* set_int(SessionOptions*, int) { return nullptr; }
Status* add_session_entry(SessionOptions*, const char* key, const char* value) {
  return called("AddSessionConfigEntry", std::string(key) + "=" + value);
}

Status* create_provider_options(ProviderOptions** out) {
  *out = new ProviderOptions;
  return nullptr;
}
Status* update_provider_options(ProviderOptions* options, const char* const* keys, const char* const* values,
                                std::size_t count) {
  options->text.clear();
  for (std::size_t i = 0; i < count; ++i) options->text[keys[i]] = values[i];
  options->stream = nullptr;  // as all that is not given
  return called("UpdateCUDAProviderOptions", text_of(keys, values, count));
}
Status* update_provider_options_with_value(ProviderOptions* options, const char* key, void* value) {
  if (std::strcmp(key, "user_compute_stream") == 0) options->stream = static_cast<CUstream>(value);
  return called("UpdateCUDAProviderOptionsWithValue", key);
}
Status* provider_options_text(const ProviderOptions* options, void*, char** out) {
  std::string text = "user_compute_stream=" + std::to_string(reinterpret_cast<std::uintptr_t>(options->stream));
  for (const auto& [key, value] : options->text) text += ";" + key + "=" + value;
  *out = strdup(text.c_str());
  return nullptr;
}
Status* append_cuda(SessionOptions* session, const ProviderOptions* options) {
  session->has_cuda = true;
  session->text = options->text;
  session->stream = options->stream;
  return called("SessionOptionsAppendExecutionProvider_CUDA_V2");
}

// ---- sessions

Status* create_session(const void*, const char* path, const SessionOptions* options, Session** out) {
  if (auto* failure = called("CreateSession", path)) return failure;
  if (!options->has_cuda) return status(kFail, "the fake has the CUDA provider only");
  if (value_of("memcpy_nodes") > 0) {
    const auto text = std::to_string(value_of("memcpy_nodes")) +
                      " Memcpy nodes are added to the graph main_graph for CUDAExecutionProvider. It might have "
                      "negative impact on performance (including unable to run CUDA graph).";
    world().logger(world().logger_param, 2, "onnxruntime", "", "", text.c_str());
  }
  try {
    *out = new Session(*options);
  } catch (const std::exception& error) {
    return status(kFail, error.what());
  }
  return nullptr;
}

Status* input_count(const Session*, std::size_t* count) {
  *count = 1;
  return nullptr;
}
Status* output_count(const Session* session, std::size_t* count) {
  *count = session->output_names().size();
  return nullptr;
}
Status* input_name(const Session*, std::size_t, void*, char** out) {
  *out = strdup("x");
  return nullptr;
}
Status* output_name(const Session* session, std::size_t index, void*, char** out) {
  *out = strdup(session->output_names().at(index).c_str());
  return nullptr;
}
Status* input_type(const Session*, std::size_t, TypeInfo** out) {
  *out = new TypeInfo;
  return nullptr;
}
Status* output_type(const Session* session, std::size_t index, TypeInfo** out) {
  *out = new TypeInfo;
  (*out)->is_tensor = session->output_names().at(index) != "s";
  return nullptr;
}
Status* as_tensor_info(const TypeInfo* info, const ShapeInfo** out) {
  static const ShapeInfo* const shape = [] {
    auto* made = new ShapeInfo;
    --world().live;  // the library's own
    made->shape = {-1, 4};
    return made;
  }();
  *out = info->is_tensor ? shape : nullptr;
  return nullptr;
}
Status* output_memory(const Session* session, const MemoryInfo** out, std::size_t count) {
  static const std::array<MemoryInfo, 2>* const kinds = [] {
    auto* made = new std::array<MemoryInfo, 2>;
    world().live -= 2;
    (*made)[1].on_device = true;
    return made;
  }();
  const auto names = session->output_names();
  for (std::size_t i = 0; i < count; ++i) out[i] = &(*kinds)[names.at(i) == "y" ? 1 : 0];
  return nullptr;
}

// ---- which node is where: nodes are numbers from 1, those of the CPU first

Status* assignment(const Session*, const void* const** out, std::size_t* count) {
  static const void* const subgraphs[] = {reinterpret_cast<void*>(1), reinterpret_cast<void*>(2)};
  const bool has_cpu = value_of("cpu_nodes") > 0;
  *out = subgraphs + (has_cpu ? 0 : 1);
  *count = has_cpu ? 2 : 1;
  return nullptr;
}
bool is_cpu(const void* subgraph) { return reinterpret_cast<std::uintptr_t>(subgraph) == 1; }
Status* subgraph_provider(const void* subgraph, const char** out) {
  *out = is_cpu(subgraph) ? "CPUExecutionProvider" : "CUDAExecutionProvider";
  return nullptr;
}
Status* subgraph_nodes(const void* subgraph, const void* const** out, std::size_t* count) {
  static std::vector<const void*> nodes;
  nodes.clear();
  const auto on_cpu = static_cast<std::uintptr_t>(value_of("cpu_nodes"));
  for (std::uintptr_t n = 1; is_cpu(subgraph) && n <= on_cpu; ++n) nodes.push_back(reinterpret_cast<void*>(n));
  if (!is_cpu(subgraph)) nodes.push_back(reinterpret_cast<void*>(on_cpu + 1));
  *out = nodes.data();
  *count = nodes.size();
  return nullptr;
}
Status* node_name(const void* node, const char** out) {
  static std::string name;
  name = "node_" + std::to_string(reinterpret_cast<std::uintptr_t>(node));
  *out = name.c_str();
  return nullptr;
}
Status* node_type(const void*, const char** out) {
  *out = "Identity";
  return nullptr;
}

// ---- values

Status* create_memory_info(const char* name, int, int device, int, MemoryInfo** out) {
  *out = new MemoryInfo;
  (*out)->on_device = std::strcmp(name, "Cuda") == 0;
  (*out)->device = device;
  return nullptr;
}
Status* create_cpu_memory_info(int, int, MemoryInfo** out) {
  *out = new MemoryInfo;
  return nullptr;
}
void memory_device_type(const MemoryInfo* info, int* out) { *out = info->on_device ? 1 : 0; }
int memory_kind(const MemoryInfo*) { return 0; }

Status* create_tensor(const MemoryInfo* info, void* data, std::size_t bytes, const std::int64_t* shape,
                      std::size_t rank, int, Value** out) {
  if (auto* failure = called("CreateTensorWithDataAsOrtValue")) return failure;
  auto tensor = std::make_shared<Tensor>();
  tensor->data = data;
  tensor->bytes = bytes;
  tensor->shape.assign(shape, shape + rank);
  tensor->where.on_device = info->on_device;
  *out = new Value;
  (*out)->tensor = std::move(tensor);
  return nullptr;
}
Status* is_tensor(const Value* value, int* out) {
  *out = value->tensor != nullptr && value->tensor->is_tensor ? 1 : 0;
  return nullptr;
}
Status* tensor_data(Value* value, void** out) {
  *out = value->tensor->data;
  return nullptr;
}
Status* tensor_memory(const Value* value, const MemoryInfo** out) {
  *out = &value->tensor->where;
  return nullptr;
}
Status* tensor_shape(const Value* value, ShapeInfo** out) {
  *out = new ShapeInfo;
  (*out)->shape = value->tensor->shape;
  return nullptr;
}
Status* element_type(const ShapeInfo*, int* out) {
  *out = kFloat;
  return nullptr;
}
Status* rank_of(const ShapeInfo* info, std::size_t* out) {
  *out = info->shape.size();
  return nullptr;
}
Status* dimensions(const ShapeInfo* info, std::int64_t* out, std::size_t count) {
  std::copy_n(info->shape.begin(), count, out);
  return nullptr;
}
Status* symbols(const ShapeInfo*, const char** out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = i == 0 ? "batch" : "";
  return nullptr;
}

// ---- runs

Status* create_run_options(RunOptions** out) {
  *out = new RunOptions;
  return nullptr;
}
Status* add_run_entry(RunOptions* options, const char* key, const char* value) {
  options->entries[key] = value;
  return called("AddRunConfigEntry", std::string(key) + "=" + value);
}
Status* create_binding(Session*, Binding** out) {
  *out = new Binding;
  return nullptr;
}
Status* bind_input(Binding* binding, const char* name, const Value* value) {
  binding->x = value->tensor;
  return called("BindInput", name);
}
Status* bind_output(Binding* binding, const char* name, const Value* value) {
  binding->outputs[name] = {value->tensor->where.on_device, value->tensor};
  return called("BindOutput", name);
}
Status* bind_output_to_device(Binding* binding, const char* name, const MemoryInfo* info) {
  binding->outputs[name] = {info->on_device, nullptr};
  return called("BindOutputToDevice", std::string(name) + (info->on_device ? " Cuda" : " Cpu"));
}
Status* bound_outputs(const Binding* binding, void*, Value*** out, std::size_t* count) {
  *count = binding->outputs.size();
  *out = static_cast<Value**>(std::malloc(*count * sizeof(Value*)));
  std::size_t at = 0;
  for (const char* name : {"y", "h", "s"}) {
    const auto found = binding->outputs.find(name);
    if (found == binding->outputs.end()) continue;
    (*out)[at] = new Value;
    (*out)[at++]->tensor = found->second.tensor;
  }
  return nullptr;
}
Status* run_with_binding(Session* session, const RunOptions* options, Binding* binding) {
  if (auto* failure = called("RunWithBinding")) return failure;
  return session->run(*options, *binding);
}

// ---- the rest

int error_code(const Status* failure) { return failure->code; }
const char* error_message(const Status* failure) { return failure->message.c_str(); }
Status* default_allocator(void** out) {
  *out = &allocator;
  return nullptr;
}
Status* allocator_free(void*, void* memory) {
  std::free(memory);
  return nullptr;
}
void nothing(void*) {}

template <std::size_t slot>
[[noreturn]] void missing() {
  std::fprintf(stderr, "the fake ONNX Runtime has no function at slot %zu\n", slot);
  std::abort();
}

using Table = std::array<void*, kSlots>;

template <std::size_t... slots>
Table all_missing(std::index_sequence<slots...>) {
  return {reinterpret_cast<void*>(&missing<slots>)...};
}

Table make_table() {
  Table table = all_missing(std::make_index_sequence<kSlots>());
  const auto set = [&](std::size_t slot, auto* function) { table[slot] = reinterpret_cast<void*>(function); };
  set(1, &error_code), set(2, &error_message), set(4, &create_env), set(7, &create_session);
  set(10, &create_session_options), set(13, &set_int), set(23, &set_int), set(24, &set_int), set(25, &set_int);
  set(30, &input_count), set(31, &output_count), set(33, &input_type), set(34, &output_type), set(36, &input_name);
  set(37, &output_name), set(39, &create_run_options), set(49, &create_tensor), set(50, &is_tensor);
  set(51, &tensor_data), set(55, &as_tensor_info), set(60, &element_type), set(61, &rank_of), set(62, &dimensions);
  set(63, &symbols), set(65, &tensor_shape), set(68, &create_memory_info), set(69, &create_cpu_memory_info);
  set(76, &allocator_free), set(78, &default_allocator), set(92, &nothing), set(93, &release<Status>);
  set(94, &release<MemoryInfo>), set(95, &release<Session>), set(96, &release<Value>), set(97, &release<RunOptions>);
  set(98, &release<TypeInfo>), set(99, &release<ShapeInfo>), set(100, &release<SessionOptions>);
  set(125, &available_providers), set(126, &release_providers), set(130, &add_session_entry);
  set(133, &run_with_binding), set(134, &create_binding), set(135, &release<Binding>), set(136, &bind_input);
  set(137, &bind_output), set(138, &bind_output_to_device), set(140, &bound_outputs), set(165, &add_run_entry);
  set(194, &tensor_memory), set(204, &append_cuda), set(205, &create_provider_options);
  set(206, &update_provider_options), set(207, &provider_options_text), set(208, &release<ProviderOptions>);
  set(225, &memory_device_type), set(263, &update_provider_options_with_value), set(321, &memory_kind);
  set(381, &output_memory), set(407, &assignment), set(408, &subgraph_provider), set(409, &subgraph_nodes);
  set(410, &node_name), set(412, &node_type);
  return table;
}

const void* get_api(std::uint32_t) {
  static const Table table = make_table();
  return table.data();
}

const char* version() {
  static std::string text;
  text = "1." + std::to_string(value_of("version")) + ".0";
  return text.c_str();
}

}  // namespace
}  // namespace fake_ort

extern "C" __attribute__((visibility("default"))) const void* OrtGetApiBase() {
  static const struct {
    const void* (*get_api)(std::uint32_t);
    const char* (*version)();
  } base{&fake_ort::get_api, &fake_ort::version};
  return &base;
}
