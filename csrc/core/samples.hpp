// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace pyperf {

// Durations in nanoseconds, in the order they were measured. Room is made between batches, written once so that its
// pages are there, and handed to the loop: inside the measured window nothing is allocated and no page is new.
// One thread fills it; snapshot() is for the others.
class Samples {
 public:
  // Room for `count` more. Moves what is there: call it between batches only.
  std::span<std::int64_t> prepare(std::int64_t count) {
    const auto needed = count_ + static_cast<std::size_t>(count);
    if (needed > storage_->size()) {
      auto larger = std::make_shared<Storage>(std::max(needed, storage_->size() * 2));
      std::copy_n(storage_->begin(), count_, larger->begin());
      const std::lock_guard lock(mutex_);
      storage_ = std::move(larger);
    }
    return {storage_->data() + count_, static_cast<std::size_t>(count)};
  }

  // The first `count` places that prepare() gave now hold samples.
  void commit(std::int64_t count) {
    const std::lock_guard lock(mutex_);
    count_ += static_cast<std::size_t>(count);
  }

  std::int64_t count() const { return static_cast<std::int64_t>(count_); }

  // Good until the next prepare().
  std::span<const std::int64_t> view(std::int64_t begin = 0) const {
    return std::span<const std::int64_t>(storage_->data(), count_).subspan(static_cast<std::size_t>(begin));
  }

  // What is committed now, for as long as the caller keeps it: later samples neither move nor change it.
  std::shared_ptr<const std::span<const std::int64_t>> snapshot() const {
    struct Kept {
      std::shared_ptr<const Storage> storage;
      std::span<const std::int64_t> view;
    };
    const std::lock_guard lock(mutex_);
    const auto kept = std::make_shared<const Kept>(Kept{storage_, {storage_->data(), count_}});
    return {kept, &kept->view};
  }

 private:
  using Storage = std::vector<std::int64_t>;

  mutable std::mutex mutex_;  // held for a few instructions, between batches
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
  std::size_t count_ = 0;
};

}  // namespace pyperf
