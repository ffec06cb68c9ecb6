// SPDX-License-Identifier: Apache-2.0
// A one-input, one-output float model through ONNX Runtime's C interface, as one would write it by hand for this one
// purpose: the yardstick of ort_overhead.py. Only what is called is declared, by position in the table, which only ever
// grows at its end.
// Usage: ort_hand_loop LIBRARY API_VERSION MODEL ELEMENTS THREADS WARM_UP CALLS
// Prints the median sample in ns.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

struct ApiBase {
  const void* (*get_api)(std::uint32_t version);
  const char* (*get_version)();
};
using Status = void*;
void* const* table;

template <class... Parameters>
void call(std::size_t slot, Parameters... parameters) {
  if (reinterpret_cast<Status (*)(Parameters...)>(table[slot])(parameters...) != nullptr) {
    std::fprintf(stderr, "ONNX Runtime function %zu failed\n", slot);
    std::exit(1);
  }
}

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) return 2;
  void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 3;
  const auto base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"))();
  table = static_cast<void* const*>(base->get_api(static_cast<std::uint32_t>(std::atoi(argv[2]))));
  const char* model = argv[3];
  const std::int64_t elements = std::atoll(argv[4]);
  const int threads = std::atoi(argv[5]);
  const std::int64_t warm_up = std::atoll(argv[6]);
  const std::size_t calls = static_cast<std::size_t>(std::atoll(argv[7]));

  void *environment, *options, *session, *memory, *input, *output, *binding, *run_options;
  call<int, const char*, void**>(3, 2, "hand", &environment);  // warnings and worse
  call<void**>(10, &options);
  call<void*, int>(23, options, 99);  // all optimisations
  call<void*, int>(13, options, 0);   // sequential
  call<void*, int>(24, options, threads);
  call<void*, int>(25, options, 1);
  call<void*, const char*, void*, void**>(7, environment, model, options, &session);
  call<int, int, void**>(69, 1, 0, &memory);  // CPU memory of the arena

  const std::size_t bytes = static_cast<std::size_t>(elements) * sizeof(float);
  auto* x = static_cast<float*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  auto* y = static_cast<float*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  for (std::int64_t i = 0; i < elements; ++i) x[i] = static_cast<float>(i % 7 - 3);
  const std::int64_t shape[] = {1, elements};
  constexpr int kFloat = 1;
  const auto tensor = [&](float* data, void** value) {
    call<void*, void*, std::size_t, const std::int64_t*, std::size_t, int, void**>(49, memory, data, bytes, shape, 2,
                                                                                   kFloat, value);
  };
  tensor(x, &input);
  tensor(y, &output);
  call<void*, void**>(134, session, &binding);
  call<void*, const char*, void*>(136, binding, "x", input);
  call<void*, const char*, void*>(137, binding, "y", output);
  call<void**>(39, &run_options);

  const auto run = reinterpret_cast<Status (*)(void*, const void*, const void*)>(table[133]);
  for (std::int64_t i = 0; i < warm_up; ++i) {
    if (run(session, run_options, binding) != nullptr) return 4;
  }
  std::vector<std::int64_t> samples(calls);
  for (auto& sample : samples) {
    const std::int64_t begin_ns = now_ns();
    const Status status = run(session, run_options, binding);
    sample = now_ns() - begin_ns;
    if (status != nullptr) return 4;
  }
  for (std::int64_t i = 0; i < elements; ++i) {
    if (y[i] != std::max(0.0F, x[i])) return 5;
  }
  std::sort(samples.begin(), samples.end());
  std::printf("{\"p50_ns\": %lld}\n", static_cast<long long>(samples[calls / 2]));
  std::fflush(stdout);
  std::_Exit(0);  // the session's threads are of no more use
}
