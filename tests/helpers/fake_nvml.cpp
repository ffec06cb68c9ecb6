// SPDX-License-Identifier: Apache-2.0
// A libnvidia-ml.so.1 with one board, whose instance (MIG) has an id of its own, and a second board that is lost.
//
// NVML_FAULT_<function> in the environment makes that function return the given code (nvmlReturn_t). What an old driver
// lacks is what is not here: nvmlDeviceGetEccMode.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

enum Return { kSuccess = 0, kInvalidArgument = 2, kNotFound = 6, kInsufficientSize = 7, kGpuIsLost = 15 };

struct Device {
  const char* uuid;
  bool is_instance;
};
Device board{"GPU-01020304-0506-0708-090a-0b0c0d0e0f10", false};
Device instance{"MIG-a1a2a3a4-a5a6-a7a8-a9aa-abacadaeafb0", true};
Device lost{"GPU-ffffffff-ffff-ffff-ffff-ffffffffffff", false};

struct Memory {
  unsigned version;
  unsigned long long total, reserved, free, used;
};
struct Temperature {
  unsigned version;
  int sensor, degrees;
};
struct Process {
  unsigned pid;
  unsigned long long used_bytes;
  unsigned gpu_instance, compute_instance;
};

constexpr unsigned long long kNotAvailable = ~0ull;

int fault(const char* function) {
  const char* code = std::getenv((std::string("NVML_FAULT_") + function).c_str());
  return code == nullptr ? kSuccess : std::atoi(code);
}

int write(char* to, unsigned length, const char* text) {
  return std::snprintf(to, length, "%s", text) < static_cast<int>(length) ? kSuccess : kInsufficientSize;
}

int list(unsigned* count, Process* to, const Process* from, unsigned available) {
  const bool fits = *count >= available;
  *count = available;
  if (!fits) {
    return kInsufficientSize;
  }
  std::memcpy(to, from, available * sizeof(Process));
  return kSuccess;
}

unsigned long long monotonic_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<unsigned long long>(now.tv_sec) * 1000 + static_cast<unsigned long long>(now.tv_nsec) / 1000000;
}

}  // namespace

#define NVML(name, parameters, ...)                                   \
  extern "C" int name parameters {                                    \
    if (const int code = fault(#name); code != kSuccess) return code; \
    __VA_ARGS__;                                                      \
    return kSuccess;                                                  \
  }
#define NVML_NUMBER(name, type, value) NVML(name, (Device*, type * number), *number = value)

extern "C" const char* nvmlErrorString(int code) {
  return code == kGpuIsLost ? "GPU is lost" : code == 9 ? "Driver Not Loaded" : "some fault";
}

NVML(nvmlInit_v2, (), )
NVML(nvmlShutdown, (), )
NVML(nvmlDeviceGetCount_v2, (unsigned* count), *count = 2)
NVML(nvmlDeviceGetHandleByIndex_v2, (unsigned index, Device** device), *device = index == 0 ? &board : &lost)
NVML(nvmlDeviceGetHandleByUUID, (const char* uuid, Device** device), {
  for (Device* candidate : {&board, &instance}) {
    if (std::strcmp(uuid, candidate->uuid) == 0) {
      *device = candidate;
      return kSuccess;
    }
  }
  return kNotFound;
})
NVML(nvmlDeviceGetHandleByPciBusId_v2, (const char* id, Device** device), {
  if (std::strcmp(id, "0000:3b:00.0") != 0) return kNotFound;
  *device = &board;
})
NVML(nvmlDeviceIsMigDeviceHandle, (Device * device, unsigned* is), *is = device->is_instance)
NVML(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, (Device*, Device** whole), *whole = &board)

NVML(nvmlDeviceGetName, (Device * device, char* name, unsigned length), {
  if (device == &lost) return kGpuIsLost;
  return write(name, length, device->is_instance ? "Fake GPU MIG 1g.10gb" : "Fake GPU");
})
NVML(nvmlDeviceGetUUID, (Device * device, char* uuid, unsigned length), return write(uuid, length, device->uuid))
NVML(nvmlSystemGetDriverVersion, (char* version, unsigned length), return write(version, length, "580.65.06"))
NVML(nvmlSystemGetCudaDriverVersion_v2, (int* version), *version = 13010)
NVML(nvmlDeviceGetCudaComputeCapability, (Device*, int* major, int* minor), *major = 9, *minor = 0)
NVML(nvmlDeviceGetMigMode, (Device*, unsigned* now, unsigned* pending), *now = 1, *pending = 0)
NVML_NUMBER(nvmlDeviceGetMemoryBusWidth, unsigned, 5120)
NVML_NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, 700000)

NVML(nvmlDeviceGetMemoryInfo_v2, (Device * device, Memory* memory), {
  memory->total = device->is_instance ? 10'000'000'000 : 80'000'000'000;
  memory->used = device->is_instance ? 1'000'000'000 : 5'000'000'000;
})
// Clock 1 is the SMs', 2 the memory's.
NVML(nvmlDeviceGetMaxClockInfo, (Device * device, int type, unsigned* mhz), {
  if (device->is_instance) return kInvalidArgument;
  *mhz = type == 1 ? 1980 : type == 2 ? 2619 : 0;
})
NVML(nvmlDeviceGetClockInfo, (Device * device, int type, unsigned* mhz), {
  if (device->is_instance) return kInvalidArgument;
  *mhz = type == 1 ? 1755 : type == 2 ? 2600 : 0;
})
NVML_NUMBER(nvmlDeviceGetPowerUsage, unsigned, 310500)
NVML(nvmlDeviceGetTemperatureV, (Device*, Temperature* reading), {
  if (reading->sensor != 0) return kInvalidArgument;
  reading->degrees = 61;
})
NVML_NUMBER(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, 0x4)
NVML_NUMBER(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, 300 * monotonic_ms())  // 300 W since the boot

NVML(nvmlDeviceGetComputeRunningProcesses_v3, (Device*, unsigned* count, Process* processes), {
  const Process running[] = {{1, 3'000'000'000, 0, 0}, {4294967, kNotAvailable, 0, 0}};
  return list(count, processes, running, 2);
})
NVML(nvmlDeviceGetGraphicsRunningProcesses_v3, (Device*, unsigned* count, Process* processes), {
  const Process running[] = {{1, 3'000'000'000, 0, 0}, {99, 1'000, 0, 0}};
  return list(count, processes, running, 2);
})
NVML(nvmlSystemGetProcessName, (unsigned pid, char* name, unsigned length), {
  if (pid != 1 && pid != 99) return kNotFound;
  return write(name, length, pid == 1 ? "/usr/bin/trainer" : "\xff is no UTF-8");
})
