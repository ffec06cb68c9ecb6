// SPDX-License-Identifier: Apache-2.0
#include "core/cache_flush.hpp"

#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "core/thread.hpp"

namespace pyperf {
namespace {

constexpr std::size_t kLineBytes = 64;
constexpr std::size_t kStride = kLineBytes / sizeof(std::uint64_t);

std::vector<CacheFlush::Share> checked(std::vector<CacheFlush::Share> shares) {
  if (shares.empty()) throw UsageError("there is no processor whose caches to flush");
  for (const auto& share : shares) {
    if (!is_cpu(share.cpu)) throw UsageError("there is no such processor to flush the cache of");
    if (share.bytes < kLineBytes) throw UsageError("a flush streams through at least one cache line");
  }
  return shares;
}

}  // namespace

CacheFlush::CacheFlush(std::vector<Share> shares)
    : shares_(checked(std::move(shares))),
      begin_(static_cast<std::ptrdiff_t>(shares_.size()) + 1),
      end_(static_cast<std::ptrdiff_t>(shares_.size()) + 1) {
  for (const auto& share : shares_) {
    const auto no_room = [&] {
      return OutOfMemoryError("no memory to flush the caches with: " + std::to_string(share.bytes) +
                              " bytes are needed for processor " + std::to_string(share.cpu));
    };
    try {
      memory_.emplace_back(share.bytes / sizeof(std::uint64_t));
    } catch (const std::bad_alloc&) {
      throw no_room();
    } catch (const std::length_error&) {  // more than any machine has
      throw no_room();
    }
    bytes_ += share.bytes;
  }
  threads_.reserve(shares_.size());
  try {
    for (std::size_t i = 0; i < shares_.size(); ++i) {
      threads_.push_back(start_thread([this, i] { stream(shares_[i], memory_[i]); }));
    }
  } catch (...) {
    stop(shares_.size() - threads_.size());
    throw;
  }
}

CacheFlush::~CacheFlush() { stop(0); }

void CacheFlush::stop(std::size_t never_started) {
  stop_ = true;
  if (never_started > 0) (void)begin_.arrive(static_cast<std::ptrdiff_t>(never_started));
  begin_.arrive_and_wait();
  for (auto& thread : threads_) thread.join();
}

void CacheFlush::flush() {
  const std::lock_guard lock(one_caller_);
  begin_.arrive_and_wait();
  end_.arrive_and_wait();
}

void CacheFlush::stream(const Share& share, std::vector<std::uint64_t>& memory) {
  keep_to(share.cpu);  // or stream where it may: still through memory
  for (;;) {
    begin_.arrive_and_wait();
    if (stop_) return;
    for (std::size_t at = 0; at < memory.size(); at += kStride) ++memory[at];
    end_.arrive_and_wait();
  }
}

}  // namespace pyperf
