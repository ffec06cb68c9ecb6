// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace fake_cuda {

// Memory of a device. Its bytes exist once somebody has written other than one word over all of it, so that a cache
// flush of 100 MB costs a test nothing.
class DeviceBlock {
 public:
  DeviceBlock(std::size_t bytes, int device, std::uint64_t context) : device(device), context(context), bytes_(bytes) {}

  std::size_t bytes() const { return bytes_; }
  void fill(std::size_t offset, std::uint32_t word, std::size_t words);
  void write(std::size_t offset, const void* from, std::size_t bytes);
  void read(std::size_t offset, void* to, std::size_t bytes) const;

  const int device;
  const std::uint64_t context;  // whose memory it is

 private:
  void materialise();

  std::size_t bytes_;
  std::uint32_t word_ = 0xcdcdcdcd;  // what all of it holds while there are no bytes: at first garbage that shows
  std::vector<std::byte> content_;
};

// Page-locked memory, which host and device both reach by its address.
class HostBlock {
 public:
  HostBlock(std::size_t bytes, std::uint64_t context) : context(context), bytes_(bytes), content_(bytes / kWord + 1) {}

  void* address() { return content_.data(); }
  std::size_t bytes() const { return bytes_; }

  const std::uint64_t context;

 private:
  static constexpr std::size_t kWord = sizeof(std::uint64_t);
  std::size_t bytes_;
  std::vector<std::uint64_t> content_;
};

// Part of a block, held so that an operation still queued when the block is freed has something to touch.
template <class Block>
struct Span {
  std::shared_ptr<Block> block;
  std::size_t offset = 0;

  explicit operator bool() const { return block != nullptr; }
};

// Blocks by address. An address of the device lies above all of the host's, and is never given twice.
class Memory {
 public:
  CUdeviceptr add(std::shared_ptr<DeviceBlock> block);
  void* add(std::shared_ptr<HostBlock> block);

  // Where [address, address + bytes) lies within one block; empty where it does not.
  Span<DeviceBlock> device(CUdeviceptr address, std::size_t bytes) const;
  Span<HostBlock> host(std::uint64_t address, std::size_t bytes) const;

  // Takes a block by the address it was given; null where there is none.
  std::shared_ptr<DeviceBlock> remove_device(CUdeviceptr address);
  std::shared_ptr<HostBlock> remove_host(const void* address);

  std::size_t device_bytes(int device) const;
  std::size_t device_bytes() const;
  std::size_t host_bytes() const;

  // Forgets everything. Host memory stays readable and writable, as an owner that outlives the reset still has it.
  void reset();

 private:
  std::map<std::uint64_t, std::shared_ptr<DeviceBlock>> device_;
  std::map<std::uint64_t, std::shared_ptr<HostBlock>> host_;
  std::vector<std::shared_ptr<HostBlock>> outlived_;
  CUdeviceptr next_ = 0x1'0000'0000'0000;
};

}  // namespace fake_cuda
