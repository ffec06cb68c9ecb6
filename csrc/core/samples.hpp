// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace pyperf {

// Durations in nanoseconds, in the order they were measured. Room is made between batches, written once so that its
// pages are there, and handed to the loop: inside the measured window nothing is allocated and no page is new.
class Samples {
 public:
  // Room for `count` more. Moves what is there: call it between batches only.
  std::span<std::int64_t> prepare(std::int64_t count) {
    const auto needed = count_ + static_cast<std::size_t>(count);
    if (needed > values_.size()) values_.resize(std::max(needed, values_.size() * 2));
    return {values_.data() + count_, static_cast<std::size_t>(count)};
  }

  // The first `count` places that prepare() gave now hold samples.
  void commit(std::int64_t count) { count_ += static_cast<std::size_t>(count); }

  std::int64_t count() const { return static_cast<std::int64_t>(count_); }
  std::span<const std::int64_t> view() const { return {values_.data(), count_}; }
  std::span<const std::int64_t> view(std::int64_t begin) const {
    return view().subspan(static_cast<std::size_t>(begin));
  }

 private:
  std::vector<std::int64_t> values_;
  std::size_t count_ = 0;
};

}  // namespace pyperf
