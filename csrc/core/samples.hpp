// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "core/error.hpp"
#include "core/quantity.hpp"

namespace pyperf {

// Durations in nanoseconds, in the order they were measured, one column a quantity. Room is made between batches,
// written once so that its pages are there, and handed to the loop: inside the measured window nothing is allocated and
// no page is new. One thread fills it; snapshot() is for the others.
class Samples {
 public:
  // Room for `count` more of the same quantities as before. Moves what is there: call it between batches only. Throws
  // UsageError where there are samples of other quantities.
  Rows prepare(std::int64_t count, std::span<const Quantity> quantities = kLatencyAlone) {
    const bool others = !std::ranges::equal(quantities, quantities_);
    if (count_ > 0 && others) {
      throw UsageError("these samples hold other quantities already; make new ones for another mode or target");
    }
    const std::size_t columns = quantities.size();
    const auto needed = count_ + static_cast<std::size_t>(count);
    if (needed > capacity_ || others) {
      const auto capacity = std::max(needed, capacity_ * 2);
      auto larger = std::make_shared<Storage>(capacity * columns);
      for (std::size_t column = 0; column < columns && count_ > 0; ++column) {
        std::copy_n(data() + column * capacity_, count_, larger->data() + column * capacity);
      }
      const std::lock_guard lock(mutex_);
      if (others) quantities_.assign(quantities.begin(), quantities.end());
      storage_ = std::move(larger);
      capacity_ = capacity;
    }
    return {storage_->data() + count_, static_cast<std::size_t>(count), capacity_};
  }

  // The first `count` places that prepare() gave now hold samples.
  void commit(std::int64_t count) {
    const std::lock_guard lock(mutex_);
    count_ += static_cast<std::size_t>(count);
  }

  std::int64_t count() const { return static_cast<std::int64_t>(count_); }

  // One a column, in their order; none before the first prepare().
  std::vector<Quantity> quantities() const {
    const std::lock_guard lock(mutex_);
    return quantities_;
  }

  // Of one quantity; good until the next prepare().
  std::span<const std::int64_t> view(std::int64_t begin = 0, std::size_t column = 0) const {
    return std::span<const std::int64_t>(data() + column * capacity_, count_).subspan(static_cast<std::size_t>(begin));
  }

  // What is committed now, for as long as the caller keeps it: later samples neither move nor change it.
  std::shared_ptr<const std::span<const std::int64_t>> snapshot(std::size_t column = 0) const {
    struct Kept {
      std::shared_ptr<const Storage> storage;
      std::span<const std::int64_t> view;
    };
    const std::lock_guard lock(mutex_);
    const auto kept = std::make_shared<const Kept>(Kept{storage_, {data() + column * capacity_, count_}});
    return {kept, &kept->view};
  }

 private:
  using Storage = std::vector<std::int64_t>;

  static constexpr std::array kLatencyAlone{Quantity::kLatency};

  const std::int64_t* data() const { return storage_->data(); }

  mutable std::mutex mutex_;  // held for a few instructions, between batches
  std::shared_ptr<Storage> storage_ = std::make_shared<Storage>();
  std::size_t capacity_ = 0;  // of a column
  std::vector<Quantity> quantities_;
  std::size_t count_ = 0;
};

}  // namespace pyperf
