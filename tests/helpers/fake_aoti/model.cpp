// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "world.hpp"

// The compiled model, with the C types of torch's aoti_runtime/interface.h.
namespace fake_aoti {
namespace {

constexpr std::int32_t kSuccess = 0, kFailure = 1;

bool allocate(Tensor& tensor, std::size_t bytes) {
  auto storage = std::make_shared<Storage>();
  storage->bytes = std::max<std::size_t>(bytes, 1);
  if (tensor.device_type == kCpu) {
    storage->host.resize(storage->bytes);
    tensor.data = storage->host.data();
  } else {
    auto& cache = world().cache;
    if (const auto found = cache.find(storage->bytes); found != cache.end()) {
      storage->device = found->second;
      cache.erase(found);
    } else if (world().driver.allocate(&storage->device, storage->bytes) != CUDA_SUCCESS) {
      storage->device = 0;
      return false;
    }
    tensor.data = reinterpret_cast<char*>(storage->device);
  }
  tensor.storage = std::move(storage);
  return true;
}

std::shared_ptr<Tensor> output_like(const Tensor& input) {
  auto output = std::make_shared<Tensor>(input);
  if (value_of("odd_dtype") != 0) output->dtype = kOddDtype;
  if (value_of("host_outputs") != 0) output->device_type = kCpu;
  if (!output->sizes.empty()) output->sizes[0] += value_of("longer");
  if (value_of("reversed") != 0) {
    std::reverse(output->sizes.begin(), output->sizes.end());
    std::reverse(output->strides.begin(), output->strides.end());
  }
  const std::size_t skipped = static_cast<std::size_t>(value_of("offset")) * output->element_bytes();
  if (!allocate(*output, skipped + output->span_bytes())) return nullptr;
  output->data += skipped;
  return output;
}

// Queues what writes the outputs. What is in the host's memory is not written.
bool work_on_gpu(const std::vector<std::shared_ptr<Tensor>>& inputs,
                 const std::vector<std::shared_ptr<Tensor>>& outputs, CUstream stream) {
  const Driver& driver = world().driver;
  const CUgraphExec graph = driver.graph(value_of("run_ns"));
  for (std::size_t i = 0; i < outputs.size() && !inputs.empty(); ++i) {
    const Tensor& from = *inputs[i % inputs.size()];
    if (outputs[i]->device_type == kCpu || from.device_type == kCpu || from.span_bytes() == 0) continue;
    driver.copy(graph, reinterpret_cast<CUdeviceptr>(outputs[i]->data), reinterpret_cast<CUdeviceptr>(from.data),
                from.span_bytes());
  }
  const CUresult launched = driver.launch(graph, stream);
  driver.destroy(graph);
  return launched == CUDA_SUCCESS;
}

std::int32_t run(const char* function, bool waits, Container* container, Handle** input_handles,
                 std::size_t input_count, Handle** output_handles, std::size_t output_count, void* stream) {
  const bool goes_on = called(function, grad_mode() ? " grad" : "");
  std::vector<std::shared_ptr<Tensor>> inputs;
  bool sound = world().containers.contains(container) && static_cast<long long>(input_count) == container->inputs &&
               static_cast<long long>(output_count) == container->outputs;
  if (sound && (goes_on || value_of("keeps_inputs") == 0)) {
    for (std::size_t i = 0; i < input_count; ++i) {
      Handle* handle = input_handles[i];  // torch also writes null there, which it does not promise
      if (!knows(handle)) return kFailure;
      inputs.push_back(handle->tensor);
      delete_handle(handle);
    }
  }
  if (!sound || !goes_on) return kFailure;
  if (container->on_gpu && (waits || value_of("waits") != 0)) {
    if (world().driver.synchronize(static_cast<CUstream>(stream)) != CUDA_SUCCESS) return kFailure;
  }
  std::vector<std::shared_ptr<Tensor>> outputs;
  for (std::size_t i = 0; i < output_count; ++i) {
    if (value_of("null_outputs") != 0 || inputs.empty()) continue;
    auto output = output_like(*inputs[i % inputs.size()]);
    if (output == nullptr) return kFailure;
    outputs.push_back(std::move(output));
  }
  if (container->on_gpu) {
    if (!work_on_gpu(inputs, outputs, static_cast<CUstream>(stream))) return kFailure;
  } else {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      std::memcpy(outputs[i]->data, inputs[i % inputs.size()]->data, inputs[i % inputs.size()]->span_bytes());
    }
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const bool again = i > 0 && value_of("repeated") != 0;
    output_handles[i] = again ? output_handles[0] : new_handle(std::move(outputs[i]));
  }
  return kSuccess;
}

std::string numbered(char letter, long long number) {
  std::string name(1, letter);
  name += std::to_string(number);
  return name;
}

std::int32_t name_at(const char* function, const Container& container, std::size_t index, const char** out) {
  if (!called(function)) return kFailure;
  *out = container.names.at(index).c_str();
  return kSuccess;
}

}  // namespace
}  // namespace fake_aoti

using namespace fake_aoti;

FAKE_AOTI_API std::int32_t AOTInductorModelContainerCreateWithDevice(Container** out, std::size_t, const char* device,
                                                                     const char*) {
  if (!called("AOTInductorModelContainerCreateWithDevice")) return kFailure;
  auto* container = new Container{value_of("inputs"), value_of("outputs"), std::string(device) != "cpu", {}};
  for (long long i = 0; i < container->inputs; ++i) container->names.push_back(numbered('x', i));
  for (long long i = 0; i < container->outputs; ++i) container->names.push_back(numbered('y', i));
  world().containers.insert(container);
  *out = container;
  return kSuccess;
}

FAKE_AOTI_API std::int32_t AOTInductorModelContainerDelete(Container* container) {
  if (!called("AOTInductorModelContainerDelete") || world().containers.erase(container) == 0) return kFailure;
  delete container;
  return kSuccess;
}

FAKE_AOTI_API std::int32_t AOTInductorModelContainerGetNumInputs(Container* container, std::size_t* out) {
  *out = static_cast<std::size_t>(container->inputs);
  return called("AOTInductorModelContainerGetNumInputs") ? kSuccess : kFailure;
}

FAKE_AOTI_API std::int32_t AOTInductorModelContainerGetNumOutputs(Container* container, std::size_t* out) {
  *out = static_cast<std::size_t>(container->outputs);
  return called("AOTInductorModelContainerGetNumOutputs") ? kSuccess : kFailure;
}

FAKE_AOTI_API std::int32_t AOTInductorModelContainerGetInputName(Container* container, std::size_t i,
                                                                 const char** out) {
  return name_at("AOTInductorModelContainerGetInputName", *container, i, out);
}

FAKE_AOTI_API std::int32_t AOTInductorModelContainerGetOutputName(Container* container, std::size_t i,
                                                                  const char** out) {
  return name_at("AOTInductorModelContainerGetOutputName", *container, static_cast<std::size_t>(container->inputs) + i,
                 out);
}

FAKE_AOTI_API std::int32_t AOTInductorModelContainerRun(Container* container, Handle** inputs, std::size_t input_count,
                                                        Handle** outputs, std::size_t output_count, void* stream,
                                                        void*) {
  return run("AOTInductorModelContainerRun", true, container, inputs, input_count, outputs, output_count, stream);
}

FAKE_AOTI_API std::int32_t AOTInductorModelContainerRunSingleThreaded(Container* container, Handle** inputs,
                                                                      std::size_t input_count, Handle** outputs,
                                                                      std::size_t output_count, void* stream, void*) {
  return run("AOTInductorModelContainerRunSingleThreaded", false, container, inputs, input_count, outputs, output_count,
             stream);
}

FAKE_AOTI_API std::int32_t AOTInductorGetLastError(const char** out) {
  *out = value_of("silent") != 0 ? "" : world().failure.c_str();
  return 0;
}
