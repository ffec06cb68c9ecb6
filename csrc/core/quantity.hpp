// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pyperf {

// What one sample is: a call and its wait; the period between two completions; a call after the caches were flushed.
enum class Mode { kLatency, kThroughput, kCold };

// What is measured of one sample, each in nanoseconds. docs/architecture.md defines them.
enum class Quantity { kLatency, kPeriod, kSubmit, kGpu, kH2d, kD2h };

const char* name_of(Mode mode);
const char* name_of(Quantity quantity);

// Room for samples: `size()` rows with one value for each quantity. A column lies in one piece, the first one being
// what the stop rule and the schedule judge; a range of that column alone serves where there is no other.
class Rows {
 public:
  Rows(std::int64_t* data, std::size_t count, std::size_t stride) : data_(data), count_(count), stride_(stride) {}
  Rows(std::vector<std::int64_t>& only) : Rows(only.data(), only.size(), only.size()) {}

  std::size_t size() const { return count_; }
  std::int64_t* column(std::size_t index) const { return data_ + index * stride_; }

  std::int64_t* data() const { return data_; }
  std::int64_t* begin() const { return data_; }
  std::int64_t* end() const { return data_ + count_; }
  std::int64_t& operator[](std::size_t row) const { return data_[row]; }

 private:
  std::int64_t* data_;
  std::size_t count_;
  std::size_t stride_;
};

}  // namespace pyperf
