// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "world.hpp"

namespace fake_ort {

struct Gpu {
  explicit Gpu(int ordinal) : device(ordinal) {
    if (world().driver.retain(&context, device) != CUDA_SUCCESS) throw std::runtime_error("CUDA failure: no context");
  }
  ~Gpu() { world().driver.release(device); }
  CUdevice device;
  CUcontext context = nullptr;
};

namespace {

struct Current {
  explicit Current(const Gpu& gpu) { world().driver.push(gpu.context); }
  ~Current() {
    CUcontext popped = nullptr;
    world().driver.pop(&popped);
  }
};

CUdeviceptr address(const void* data) { return reinterpret_cast<CUdeviceptr>(data); }

Status* cuda_status(CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return nullptr;
  const bool no_memory = result == CUDA_ERROR_OUT_OF_MEMORY;
  return status(kFail, "CUDA failure " + std::to_string(result) + ": " + (no_memory ? "out of memory" : "a failure") +
                           " ; expr=" + call);
}

std::shared_ptr<Tensor> like(const Tensor& x, const std::shared_ptr<Gpu>& gpu, bool on_device) {
  auto tensor = std::make_shared<Tensor>();
  tensor->bytes = x.bytes;
  tensor->shape = x.shape;
  tensor->owned = true;
  tensor->where.on_device = on_device;
  if (!on_device) {
    tensor->data = std::calloc(1, x.bytes + 1);
    return tensor;
  }
  tensor->gpu = gpu;
  tensor->where.device = gpu->device;
  const Current current(*gpu);
  CUdeviceptr memory = 0;
  if (world().driver.allocate(&memory, x.bytes + 1) != CUDA_SUCCESS) return nullptr;
  tensor->data = reinterpret_cast<void*>(memory);
  return tensor;
}

}  // namespace

Tensor::~Tensor() {
  if (!owned || data == nullptr) return;
  if (gpu == nullptr) {
    std::free(data);
    return;
  }
  const Current current(*gpu);
  world().driver.free(address(data));
}

Session::Session(const SessionOptions& options)
    : gpu(std::make_shared<Gpu>(std::stoi(options.text.at("device_id")))),
      stream(options.stream),
      captures(options.text.contains("enable_cuda_graph") && options.text.at("enable_cuda_graph") == "1") {}

Session::~Session() {
  const Current current(*gpu);
  if (kept != 0) world().driver.free(kept);
  for (const auto graph : graphs) world().driver.destroy(graph);
}

std::vector<std::string> Session::output_names() const {
  std::vector<std::string> names{"y"};
  if (value_of("host_output") != 0) names.emplace_back("h");
  if (value_of("other_output") != 0) names.emplace_back("s");
  return names;
}

// Gives every output that has none a tensor, as the library does in the first run.
Status* Session::fill(Binding& binding) {
  for (const auto& name : output_names()) {
    auto& output = binding.outputs[name];
    if (output.tensor != nullptr) continue;
    if (name == "s") {
      output.tensor = std::make_shared<Tensor>();
      output.tensor->is_tensor = false;
      continue;
    }
    output.tensor = like(*binding.x, gpu, output.on_device);
    if (output.tensor == nullptr) return status(kFail, "Failed to allocate memory for requested buffer of size 16");
  }
  return nullptr;
}

CUgraphExec Session::graph_of(const Tensor& x, const Tensor& y) {
  const Driver& driver = world().driver;
  const CUgraphExec graph = driver.graph(value_of("run_ns"));
  graphs.push_back(graph);
  CUdeviceptr from = address(x.data);
  const bool is_constant = value_of("constant") != 0;
  if (is_constant || (captures && value_of("stale") != 0)) {
    std::vector<char> values(x.bytes, 0);
    if (!is_constant) driver.copy_out(values.data(), from, x.bytes);
    if (kept != 0) driver.free(kept);
    driver.allocate(&kept, x.bytes + 1);
    driver.copy_in(kept, values.data(), x.bytes);
    from = kept;
  }
  if (x.bytes > 0) driver.copy(graph, address(y.data), from, x.bytes);
  return graph;
}

Status* Session::run(const RunOptions& options, Binding& binding) {
  if (binding.x == nullptr) return status(kInvalidArgument, "Missing Input: x");
  const Current current(*gpu);
  if (captured == nullptr) {
    if (auto* failure = fill(binding)) return failure;
    const Tensor& y = *binding.outputs["y"].tensor;
    if (y.bytes != binding.x->bytes) return status(kInvalidArgument, "output y has another shape than is expected");
    const CUgraphExec graph = graph_of(*binding.x, y);
    if (captures) captured = graph;
    if (auto* failure = cuda_status(world().driver.launch(graph, stream), "cudaLaunchKernel")) return failure;
  } else if (value_of("idle") == 0) {
    if (auto* failure = cuda_status(world().driver.launch(captured, stream), "cudaGraphLaunch")) return failure;
  }
  if (value_of("host_output") != 0 && binding.outputs["h"].tensor != nullptr) {
    const Tensor& h = *binding.outputs["h"].tensor;
    std::vector<char> made(binding.x->bytes);
    world().driver.copy_out(made.data(), address(binding.x->data), made.size());
    if (h.where.on_device) {
      world().driver.copy_in(address(h.data), made.data(), made.size());
    } else {
      std::copy(made.begin(), made.end(), static_cast<char*>(h.data));
    }
  }
  const auto told = options.entries.find("disable_synchronize_execution_providers");
  const bool waits = told == options.entries.end() || told->second != "1" || value_of("synchronises") != 0;
  return waits ? cuda_status(world().driver.synchronize(stream), "cudaStreamSynchronize") : nullptr;
}

}  // namespace fake_ort
