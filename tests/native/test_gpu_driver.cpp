// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "fake_gpu.hpp"

namespace pyperf::test {
namespace {

namespace fs = std::filesystem;

// The same library under a name that was not loaded before, so that all is looked at anew.
class OtherName {
 public:
  OtherName() {
    static int made = 0;
    path_ =
        fs::temp_directory_path() / ("libfake_cuda_" + std::to_string(getpid()) + "_" + std::to_string(made++) + ".so");
    fs::create_symlink(fake_cuda_path(), path_);
  }
  ~OtherName() { fs::remove(path_); }
  OtherName(const OtherName&) = delete;
  OtherName& operator=(const OtherName&) = delete;

  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

std::string refused(const std::string& path) {
  return message_of<BackendError>([&] { gpu::Driver::load(path); });
}

}  // namespace

TEST(gpu_driver, is_loaded_once_a_path) {
  FakeDriver fake;
  const OtherName other;
  auto& driver = gpu::Driver::load(other.path());
  const auto calls = fake.calls("cuInit");
  CHECK_EQUAL(&gpu::Driver::load(other.path()), &driver);
  CHECK_EQUAL(fake.calls("cuInit"), calls);
  CHECK(&gpu::Driver::load(fake_cuda_path()) != &driver);
  CHECK_EQUAL(driver.path(), other.path());
  CHECK_EQUAL(driver.version(), 13'000);
}

TEST(gpu_driver, no_library_says_what_is_missing_and_can_be_there_later) {
  const auto message = refused("/nowhere/libcuda.so.1");
  CHECK_HAS(message, "no NVIDIA driver here");
  CHECK_HAS(message, "/nowhere/libcuda.so.1");
  CHECK_HAS(message, "cannot open shared object file");
  CHECK_HAS(message, "--gpus all");
  const FakeDriver fake;
  const OtherName other;
  const fs::path late = fs::path(other.path()).replace_extension(".late");
  CHECK_HAS(refused(late.string()), "no NVIDIA driver");
  fs::create_symlink(fake_cuda_path(), late);
  CHECK_EQUAL(gpu::Driver::load(late.string()).version(), 13'000);
  fs::remove(late);
}

TEST(gpu_driver, a_library_that_is_none_is_named_as_such) {
  CHECK_HAS(refused("libm.so.6"), "libm.so.6 is no CUDA driver");
}

TEST(gpu_driver, one_older_than_cuda_12_is_told_to_be_updated) {
  for (const int version : {11'040, 11'080}) {
    FakeDriver fake;
    fake.driver_version(version);
    const OtherName other;
    CHECK_HAS(refused(other.path()), "CUDA 12.0 or later");
  }
  FakeDriver fake;
  fake.driver_version(12'000);
  const OtherName other;
  CHECK_EQUAL(gpu::Driver::load(other.path()).version(), 12'000);
}

TEST(gpu_driver, every_function_of_the_table_is_asked_for_and_a_missing_one_is_named) {
  const auto check = [](const char* name) {
    FakeDriver fake;
    fake.hide(name);
    const OtherName other;
    CHECK_HAS(refused(other.path()), std::string("has no ") + name + ": update it to CUDA 12.0");
  };
#define PYPERF_CHECK(name) check(#name);
  PYPERF_CUDA_FUNCTIONS(PYPERF_CHECK)
#undef PYPERF_CHECK
}

TEST(gpu_driver, a_start_that_fails_gives_the_code_its_text_and_a_remedy) {
  struct Case {
    CUresult result;
    const char* name;
    const char* remedy;
  };
  for (const auto& [result, name, remedy] :
       {Case{CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "CUDA_VISIBLE_DEVICES"},
        Case{CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "reboot"},
        Case{CUDA_ERROR_STUB_LIBRARY, "CUDA_ERROR_STUB_LIBRARY", "LD_LIBRARY_PATH"},
        Case{CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "nvidia-smi"},
        Case{CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "nvidia-smi"},
        Case{CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "nvidia-smi"}}) {
    FakeDriver fake;
    fake.fail("cuInit", 1, result);
    const OtherName other;
    const auto message = refused(other.path());
    CHECK_HAS(message, std::string("cuInit gives ") + name + " (");
    CHECK_HAS(message, remedy);
    CHECK_EQUAL(gpu::Driver::load(other.path()).version(), 13'000);  // it is tried again
  }
}

TEST(gpu_driver, no_gpu_is_a_driver_that_does_not_start) {
  FakeDriver fake;
  fake.device_count(0);
  const OtherName other;
  CHECK_HAS(refused(other.path()), "CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)");
}

TEST(gpu_driver, a_code_is_described_by_name_and_text_and_an_unknown_one_by_number) {
  const FakeDriver fake;
  const auto& driver = gpu::Driver::load(fake_cuda_path());
  CHECK_EQUAL(driver.describe(CUDA_ERROR_INVALID_VALUE), "CUDA_ERROR_INVALID_VALUE (invalid argument)");
  CHECK_EQUAL(driver.describe(static_cast<CUresult>(998)), "error 998");
}

TEST(gpu_driver, the_type_of_an_error_is_what_its_code_means) {
  const FakeDriver fake;
  const auto& driver = gpu::Driver::load(fake_cuda_path());
  const auto failing = [&](CUresult result) { return [&driver, result] { driver.check(result, "cuCall(argument)"); }; };
  driver.check(CUDA_SUCCESS, "cuCall()");
  CHECK_EQUAL(message_of<OutOfMemoryError>(failing(CUDA_ERROR_OUT_OF_MEMORY)),
              "the GPU is out of memory: cuCall failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)");
  CHECK_HAS(message_of<BackendError>(failing(CUDA_ERROR_INVALID_DEVICE)), "cuCall failed");
  CHECK_HAS(message_of<BackendError>(failing(CUDA_ERROR_NO_DEVICE)), "cuCall failed");
  CHECK_EQUAL(message_of<MeasurementError>(failing(CUDA_ERROR_INVALID_HANDLE)),
              "cuCall failed: " + driver.describe(CUDA_ERROR_INVALID_HANDLE));
  CHECK_HAS(message_of<MeasurementError>(failing(CUDA_ERROR_LAUNCH_FAILED)), "start it again");
}

TEST(gpu_driver, errors_after_which_cuda_refuses_every_call_are_known) {
  // Those of which cuda.h says that the process must be started anew, or the context made anew.
  for (const CUresult fatal :
       {CUDA_ERROR_CONTAINED, CUDA_ERROR_ILLEGAL_ADDRESS, CUDA_ERROR_LAUNCH_TIMEOUT, CUDA_ERROR_ASSERT,
        CUDA_ERROR_HARDWARE_STACK_ERROR, CUDA_ERROR_ILLEGAL_INSTRUCTION, CUDA_ERROR_MISALIGNED_ADDRESS,
        CUDA_ERROR_INVALID_ADDRESS_SPACE, CUDA_ERROR_INVALID_PC, CUDA_ERROR_LAUNCH_FAILED,
        CUDA_ERROR_TENSOR_MEMORY_LEAK, CUDA_ERROR_MPS_CLIENT_TERMINATED, CUDA_ERROR_EXTERNAL_DEVICE,
        CUDA_ERROR_ECC_UNCORRECTABLE, CUDA_ERROR_DEVICE_UNAVAILABLE, CUDA_ERROR_DEINITIALIZED}) {
    CHECK(gpu::is_fatal(fatal));
  }
  for (const CUresult passing :
       {CUDA_SUCCESS, CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_NOT_READY,
        CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES}) {
    CHECK(!gpu::is_fatal(passing));
  }
}

}  // namespace pyperf::test
