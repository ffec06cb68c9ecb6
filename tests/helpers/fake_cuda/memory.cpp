// SPDX-License-Identifier: Apache-2.0
#include "memory.hpp"

#include <cstring>
#include <utility>

namespace fake_cuda {
namespace {

template <class Block>
Span<Block> find(const std::map<std::uint64_t, std::shared_ptr<Block>>& blocks, std::uint64_t address,
                 std::size_t bytes) {
  auto next = blocks.upper_bound(address);
  if (next == blocks.begin()) return {};
  const auto& [start, block] = *--next;
  const std::size_t offset = address - start;
  if (offset > block->bytes() || bytes > block->bytes() - offset) return {};
  return {block, offset};
}

template <class Block>
std::shared_ptr<Block> take(std::map<std::uint64_t, std::shared_ptr<Block>>& blocks, std::uint64_t address) {
  auto taken = blocks.extract(address);
  return taken ? std::move(taken.mapped()) : nullptr;
}

}  // namespace

void DeviceBlock::materialise() {
  if (!content_.empty()) return;
  content_.resize(bytes_);
  for (std::size_t i = 0; i < bytes_; ++i) {
    content_[i] = static_cast<std::byte>(word_ >> (i % sizeof word_ * 8));
  }
}

void DeviceBlock::fill(std::size_t offset, std::uint32_t word, std::size_t words) {
  if (offset == 0 && words * sizeof word >= bytes_) {
    word_ = word;
    content_.clear();
    return;
  }
  materialise();
  for (std::size_t i = 0; i < words; ++i) std::memcpy(&content_[offset + i * sizeof word], &word, sizeof word);
}

void DeviceBlock::write(std::size_t offset, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  materialise();
  std::memcpy(&content_[offset], from, bytes);
}

void DeviceBlock::read(std::size_t offset, void* to, std::size_t bytes) const {
  if (bytes == 0) return;
  if (!content_.empty()) {
    std::memcpy(to, &content_[offset], bytes);
    return;
  }
  for (std::size_t i = 0; i < bytes; ++i) {
    static_cast<std::byte*>(to)[i] = static_cast<std::byte>(word_ >> ((offset + i) % sizeof word_ * 8));
  }
}

CUdeviceptr Memory::add(std::shared_ptr<DeviceBlock> block) {
  constexpr CUdeviceptr kAlignment = 512;
  const CUdeviceptr address = next_;
  next_ += (block->bytes() / kAlignment + 2) * kAlignment;  // a gap behind each, so that an overrun hits nothing
  device_.emplace(address, std::move(block));
  return address;
}

void* Memory::add(std::shared_ptr<HostBlock> block) {
  void* address = block->address();
  host_.emplace(reinterpret_cast<std::uint64_t>(address), std::move(block));
  return address;
}

Span<DeviceBlock> Memory::device(CUdeviceptr address, std::size_t bytes) const { return find(device_, address, bytes); }

Span<HostBlock> Memory::host(std::uint64_t address, std::size_t bytes) const { return find(host_, address, bytes); }

std::shared_ptr<DeviceBlock> Memory::remove_device(CUdeviceptr address) { return take(device_, address); }

std::shared_ptr<HostBlock> Memory::remove_host(const void* address) {
  return take(host_, reinterpret_cast<std::uint64_t>(address));
}

std::size_t Memory::device_bytes(int device) const {
  std::size_t bytes = 0;
  for (const auto& [_, block] : device_) bytes += block->device == device ? block->bytes() : 0;
  return bytes;
}

std::size_t Memory::device_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [_, block] : device_) bytes += block->bytes();
  return bytes;
}

std::size_t Memory::host_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [_, block] : host_) bytes += block->bytes();
  return bytes;
}

void Memory::reset() {
  device_.clear();
  for (auto& [_, block] : host_) outlived_.push_back(std::move(block));
  host_.clear();
}

}  // namespace fake_cuda
