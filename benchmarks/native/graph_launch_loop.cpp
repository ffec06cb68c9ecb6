// SPDX-License-Identifier: Apache-2.0
// Launches an executable CUDA graph as one would write it by hand for this one purpose: the yardstick of
// gpu/host_cost.py, which loads it into its own process, so that both sides launch the very same graph on the same
// stream. Linked against nothing: the driver that is loaded already is asked for its functions.
//
// Every function gives 0, or the CUresult of the call that failed.
#include <dlfcn.h>

#include <chrono>
#include <cstdint>

namespace {

using Handle = void*;

struct Driver {
  int (*device_get)(int*, int);
  int (*retain)(Handle*, int);
  int (*release)(int);
  int (*push)(Handle);
  int (*pop)(Handle*);
  int (*launch)(Handle, Handle);
  int (*synchronize)(Handle);
  int (*event_create)(Handle*, unsigned);
  int (*event_destroy)(Handle);
  int (*event_record)(Handle, Handle);
  int (*event_query)(Handle);
  int (*event_elapsed)(float*, Handle, Handle);
};

constexpr int kNotFound = 500;
constexpr int kNotReady = 600;

Driver driver;

std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

template <class Function>
bool find(void* library, const char* name, Function& function) {
  const auto get =
      reinterpret_cast<int (*)(const char*, void**, int, std::uint64_t, void*)>(dlsym(library, "cuGetProcAddress_v2"));
  void* found = nullptr;
  int status = 0;
  if (get == nullptr || get(name, &found, 12000, 0, &status) != 0 || found == nullptr) return false;
  function = reinterpret_cast<Function>(found);
  return true;
}

bool load(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  return library != nullptr && find(library, "cuDeviceGet", driver.device_get) &&
         find(library, "cuDevicePrimaryCtxRetain", driver.retain) &&
         find(library, "cuDevicePrimaryCtxRelease", driver.release) && find(library, "cuCtxPushCurrent", driver.push) &&
         find(library, "cuCtxPopCurrent", driver.pop) && find(library, "cuGraphLaunch", driver.launch) &&
         find(library, "cuStreamSynchronize", driver.synchronize) &&
         find(library, "cuEventCreate", driver.event_create) && find(library, "cuEventDestroy", driver.event_destroy) &&
         find(library, "cuEventRecord", driver.event_record) && find(library, "cuEventQuery", driver.event_query) &&
         find(library, "cuEventElapsedTime", driver.event_elapsed);
}

// The primary context of a device, current for the time of `body`, and two events.
template <class Body>
int in_context(int ordinal, Body body) {
  int device = 0;
  Handle context = nullptr;
  if (const int failed = driver.device_get(&device, ordinal)) return failed;
  if (const int failed = driver.retain(&context, device)) return failed;
  int failed = driver.push(context);
  if (failed == 0) {
    Handle begin = nullptr, end = nullptr;
    if (failed = driver.event_create(&begin, 0); failed == 0) {
      if (failed = driver.event_create(&end, 0); failed == 0) {
        failed = body(begin, end);
        driver.event_destroy(end);
      }
      driver.event_destroy(begin);
    }
    driver.pop(&context);
  }
  driver.release(device);
  return failed;
}

// `times` calls between two clock reads, on a stream that is empty when the first begins.
template <class Call>
int between_two_reads(Handle stream, std::int64_t times, std::int64_t* elapsed_ns, Call call) {
  if (const int failed = driver.synchronize(stream)) return failed;
  const std::int64_t begin_ns = now_ns();
  for (std::int64_t i = 0; i < times; ++i) {
    if (const int failed = call()) return failed;
  }
  *elapsed_ns = now_ns() - begin_ns;
  return driver.synchronize(stream);
}

}  // namespace

extern "C" {

int open_driver(const char* path) { return load(path) ? 0 : kNotFound; }

// So many launches in a row and nothing else.
int launches(int ordinal, Handle graph, Handle stream, std::int64_t times, std::int64_t* elapsed_ns) {
  return in_context(ordinal, [&](Handle, Handle) {
    return between_two_reads(stream, times, elapsed_ns, [&] { return driver.launch(graph, stream); });
  });
}

// So many records of one event in a row and nothing else.
int event_records(int ordinal, Handle stream, std::int64_t times, std::int64_t* elapsed_ns) {
  return in_context(ordinal, [&](Handle event, Handle) {
    return between_two_reads(stream, times, elapsed_ns, [&] { return driver.event_record(event, stream); });
  });
}

// The sample that the product takes, by hand: two events around the launch, three clock reads, the end awaited by
// asking. Gives the time of all samples together, and of each the time until the launch returned and until the end.
int samples(int ordinal, Handle graph, Handle stream, std::int64_t times, std::int64_t* submit_ns,
            std::int64_t* latency_ns, std::int64_t* elapsed_ns) {
  return in_context(ordinal, [&](Handle begin, Handle end) {
    std::int64_t sample = 0;
    return between_two_reads(stream, times, elapsed_ns, [&] {
      if (const int failed = driver.event_record(begin, stream)) return failed;
      const std::int64_t begin_ns = now_ns();
      if (const int failed = driver.launch(graph, stream)) return failed;
      submit_ns[sample] = now_ns() - begin_ns;
      if (const int failed = driver.event_record(end, stream)) return failed;
      int asked = kNotReady;
      while (asked == kNotReady) asked = driver.event_query(end);
      latency_ns[sample++] = now_ns() - begin_ns;
      float ms = 0.0F;
      return asked != 0 ? asked : driver.event_elapsed(&ms, begin, end);
    });
  });
}
}
