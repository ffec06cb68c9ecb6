// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <vector>

#include "call.hpp"

namespace fake_cuda {
namespace {

Operation transfer(const World& world, std::size_t bytes) {
  Operation copy;
  copy.duration_ns = duration_ns(bytes, world.settings.transfer_bandwidth);
  return copy;
}

CUresult to_device(World& world, Lock& lock, CUdeviceptr to, const void* from, std::size_t bytes, CUstream handle) {
  std::shared_ptr<Stream> stream;
  if (const CUresult error = find_stream(world, handle, stream); error != CUDA_SUCCESS) return error;
  const auto target = world.memory.device(to, bytes);
  if (!target || from == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Operation copy = transfer(world, bytes);
  if (const auto pinned = world.memory.host(reinterpret_cast<std::uint64_t>(from), bytes)) {
    copy.at_end = [target, pinned, from, bytes](std::int64_t) { target.block->write(target.offset, from, bytes); };
  } else {
    const auto* first = static_cast<const std::byte*>(from);
    copy.at_end = [target, staged = std::vector<std::byte>(first, first + bytes)](std::int64_t) {
      target.block->write(target.offset, staged.data(), staged.size());
    };
  }
  return world.submit(lock, stream, std::move(copy));
}

// `pageable` says that the host memory is not known to the driver, so that the copy has to be waited for.
CUresult to_host(World& world, Lock& lock, void* to, CUdeviceptr from, std::size_t bytes, CUstream handle,
                 bool& pageable) {
  std::shared_ptr<Stream> stream;
  if (const CUresult error = find_stream(world, handle, stream); error != CUDA_SUCCESS) return error;
  const auto source = world.memory.device(from, bytes);
  if (!source || to == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const auto pinned = world.memory.host(reinterpret_cast<std::uint64_t>(to), bytes);
  pageable = !pinned;
  Operation copy = transfer(world, bytes);
  copy.at_end = [source, pinned, to, bytes](std::int64_t) { source.block->read(source.offset, to, bytes); };
  return world.submit(lock, stream, std::move(copy));
}

CUresult wait_for(World& world, Lock& lock, CUstream handle) {
  std::shared_ptr<Stream> stream;
  if (const CUresult error = find_stream(world, handle, stream); error != CUDA_SUCCESS) return error;
  return world.wait(lock, {{stream, stream->last_queued}});
}

}  // namespace

CUresult memcpy_htod(CUdeviceptr to, const void* from, std::size_t bytes) {
  return call("cuMemcpyHtoD", Needs::kContext, [&](World& world, Lock& lock) {
    const CUresult error = to_device(world, lock, to, from, bytes, nullptr);
    return error == CUDA_SUCCESS ? wait_for(world, lock, nullptr) : error;
  });
}

CUresult memcpy_dtoh(void* to, CUdeviceptr from, std::size_t bytes) {
  return call("cuMemcpyDtoH", Needs::kContext, [&](World& world, Lock& lock) {
    bool pageable = false;
    const CUresult error = to_host(world, lock, to, from, bytes, nullptr, pageable);
    return error == CUDA_SUCCESS ? wait_for(world, lock, nullptr) : error;
  });
}

CUresult memcpy_htod_async(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  return call("cuMemcpyHtoDAsync", Needs::kContext,
              [&](World& world, Lock& lock) { return to_device(world, lock, to, from, bytes, stream); });
}

CUresult memcpy_dtoh_async(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return call("cuMemcpyDtoHAsync", Needs::kContext, [&](World& world, Lock& lock) {
    bool pageable = false;
    const CUresult error = to_host(world, lock, to, from, bytes, stream, pageable);
    return error == CUDA_SUCCESS && pageable ? wait_for(world, lock, stream) : error;
  });
}

CUresult memset_d32_async(CUdeviceptr to, unsigned int word, std::size_t words, CUstream handle) {
  return call("cuMemsetD32Async", Needs::kContext, [&](World& world, Lock& lock) {
    std::shared_ptr<Stream> stream;
    if (const CUresult error = find_stream(world, handle, stream); error != CUDA_SUCCESS) return error;
    if (words > SIZE_MAX / sizeof word || to % sizeof word != 0) return CUDA_ERROR_INVALID_VALUE;
    const std::size_t bytes = words * sizeof word;
    const auto target = world.memory.device(to, bytes);
    if (!target) return CUDA_ERROR_INVALID_VALUE;
    Operation fill;
    fill.duration_ns = duration_ns(bytes, world.settings.memory_bandwidth);
    fill.at_end = [target, word, words](std::int64_t) { target.block->fill(target.offset, word, words); };
    return world.submit(lock, stream, std::move(fill));
  });
}

}  // namespace fake_cuda
