// SPDX-License-Identifier: Apache-2.0
// A one-input, one-output float model that AOTInductor has compiled, through its C entry points, as one would write it
// by hand for this one purpose: the yardstick of aoti_overhead.py. Only what is called is declared, but for the guard
// of inference mode, which has no C function: it is torch's own header, with libc10 linked.
// Usage: aoti_hand_loop LIBTORCH MODEL INPUT OUTPUT ELEMENTS WARM_UP CALLS
// INPUT and OUTPUT are files of ELEMENTS floats, a row each: what goes in, and what has to come out.
// Prints the median sample in ns.
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

using Handle = void*;

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

template <class Function>
Function* find(void* library, const char* name) {
  void* const function = library == nullptr ? nullptr : dlsym(library, name);
  if (function == nullptr) {
    const char* why = dlerror();
    std::fprintf(stderr, "no %s: %s\n", name, why == nullptr ? "" : why);
    std::exit(3);
  }
  return reinterpret_cast<Function*>(function);
}

void check(int code) {
  if (code != 0) std::exit(4);
}

void read(const char* path, float* values, std::size_t count) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr || std::fread(values, sizeof(float), count, file) != count) std::exit(2);
  std::fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) return 2;
  void* const torch = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
  const auto new_handle = find<int(Handle, Handle*)>(torch, "aoti_torch_new_tensor_handle");
  const auto delete_handle = find<int(Handle)>(torch, "aoti_torch_delete_tensor_object");
  const auto data_of = find<int(Handle, void**)>(torch, "aoti_torch_get_data_ptr");
  const auto cpu = find<std::int32_t()>(torch, "aoti_torch_device_type_cpu")();
  const auto float32 = find<std::int32_t()>(torch, "aoti_torch_dtype_float32")();
  const auto from_blob =
      find<int(void*, std::int64_t, const std::int64_t*, const std::int64_t*, std::int64_t, std::int32_t, std::int32_t,
               std::int32_t, Handle*)>(torch, "aoti_torch_create_tensor_from_blob");

  const c10::InferenceMode inference_mode;
  void* const library = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
  const auto create =
      find<int(void**, std::size_t, const char*, const char*)>(library, "AOTInductorModelContainerCreateWithDevice");
  const auto run = find<int(void*, Handle*, std::size_t, Handle*, std::size_t, void*, void*)>(
      library, "AOTInductorModelContainerRun");
  void* container = nullptr;
  check(create(&container, 1, "cpu", nullptr));

  const auto elements = static_cast<std::size_t>(std::atoll(argv[5]));
  const std::int64_t warm_up = std::atoll(argv[6]);
  const auto calls = static_cast<std::size_t>(std::atoll(argv[7]));
  const std::size_t bytes = (elements * sizeof(float) + 63) / 64 * 64;
  auto* const x = static_cast<float*>(std::aligned_alloc(64, bytes));
  std::vector<float> wanted(elements);
  read(argv[3], x, elements);
  read(argv[4], wanted.data(), elements);
  const std::int64_t shape[] = {1, static_cast<std::int64_t>(elements)};
  const std::int64_t strides[] = {static_cast<std::int64_t>(elements), 1};
  Handle tensor = nullptr;
  check(from_blob(x, 2, shape, strides, 0, float32, cpu, 0, &tensor));

  Handle input = nullptr;
  Handle output = nullptr;
  check(new_handle(tensor, &input));
  for (std::int64_t i = 0; i < warm_up; ++i) {
    check(run(container, &input, 1, &output, 1, nullptr, nullptr));
    check(delete_handle(output));
    check(new_handle(tensor, &input));
  }
  std::vector<std::int64_t> samples(calls);
  for (auto& sample : samples) {
    const std::int64_t begin_ns = now_ns();
    const int code = run(container, &input, 1, &output, 1, nullptr, nullptr);
    sample = now_ns() - begin_ns;
    check(code);
    check(delete_handle(output));
    check(new_handle(tensor, &input));
  }
  check(run(container, &input, 1, &output, 1, nullptr, nullptr));
  void* data = nullptr;
  check(data_of(output, &data));
  for (std::size_t i = 0; i < elements; ++i) {
    if (std::abs(static_cast<const float*>(data)[i] - wanted[i]) > 1e-5F) return 5;
  }
  std::sort(samples.begin(), samples.end());
  std::printf("{\"p50_ns\": %lld}\n", static_cast<long long>(samples[calls / 2]));
  std::fflush(stdout);
  std::_Exit(0);  // libtorch's destructors are of no more use
}
