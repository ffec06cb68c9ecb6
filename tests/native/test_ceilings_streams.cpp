// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "ceilings/stream_kernel.hpp"
#include "check.hpp"

namespace pyperf::test {
namespace {

constexpr std::size_t kCounts[] = {1, 2, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 100, 127, 128, 1000, 4099};
constexpr double kUntouched = -7;

// `count` doubles from a multiple of 64 bytes, with a line more that nothing may write to.
struct Array {
  explicit Array(std::size_t count) : values(new (std::align_val_t{64}) double[count + 8]), size(count) {
    for (std::size_t i = 0; i < count + 8; ++i) values[i] = kUntouched;
  }
  ~Array() { ::operator delete[](values, std::align_val_t{64}); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  bool whole() const {
    for (std::size_t i = size; i < size + 8; ++i) {
      if (values[i] != kUntouched) return false;
    }
    return true;
  }

  double* values;
  std::size_t size;
};

// The widest, and each narrower one that this processor runs as well.
std::vector<StreamKernels> every_width() {
  Features narrower = detected_features();
  narrower.avx512f = false;
  return {stream_kernels(detected_features()), stream_kernels(narrower), stream_kernels(Features{})};
}

double b_at(std::size_t i) { return 1 + static_cast<double>(i); }
double c_at(std::size_t i) { return 4 * static_cast<double>(i % 1000) - 100; }

template <class Check>
void for_each_case(Check check) {
  for (const auto& kernels : every_width()) {
    for (const std::size_t count : kCounts) {
      Array a(count);
      Array b(count);
      Array c(count);
      for (std::size_t i = 0; i < count; ++i) {
        b.values[i] = b_at(i);
        c.values[i] = c_at(i);
      }
      check(kernels, a, b, c);
      CHECK(a.whole() && b.whole() && c.whole());
    }
  }
}

}  // namespace

TEST(ceilings_streams, every_word_is_loaded_in_every_pass) {
  for_each_case([](const StreamKernels& kernels, Array&, const Array& b, const Array&) {
    std::uint64_t once = 0;
    for (std::size_t i = 0; i < b.size; ++i) {
      std::uint64_t word;
      std::memcpy(&word, b.values + i, sizeof word);
      once += word;
    }
    CHECK_EQUAL(kernels.sum(b.values, b.size, 1), once);
    CHECK_EQUAL(kernels.sum(b.values, b.size, 3), 3 * once);
    (void)kernels.load(b.values, b.size, 2);
  });
}

TEST(ceilings_streams, copies_arrive_whole_whichever_way_they_are_stored) {
  for (const auto copy : {&StreamKernels::copy, &StreamKernels::copy_around}) {
    for_each_case([copy](const StreamKernels& kernels, Array& a, const Array& b, const Array&) {
      (kernels.*copy)(a.values, b.values, a.size, 2);
      bool same = true;
      for (std::size_t i = 0; i < a.size; ++i) same = same && a.values[i] == b_at(i) && b.values[i] == b_at(i);
      CHECK(same);
    });
  }
}

TEST(ceilings_streams, triads_have_the_values_of_a_scalar_loop_whichever_way_they_are_stored) {
  for (const auto triad : {&StreamKernels::triad, &StreamKernels::triad_around}) {
    for_each_case([triad](const StreamKernels& kernels, Array& a, const Array& b, const Array& c) {
      (kernels.*triad)(a.values, b.values, c.values, 0.25, a.size, 2);
      bool same = true;
      for (std::size_t i = 0; i < a.size; ++i) same = same && a.values[i] == b_at(i) + 0.25 * c_at(i);
      CHECK(same);
    });
  }
}

TEST(ceilings_streams, whole_grains_leave_no_tail_to_any_kernel_whichever_number_of_arrays) {
  for (const auto& kernels : every_width()) {
    CHECK(kernels.block_bytes >= 128);
    for (std::size_t arrays = 1; arrays <= 3; ++arrays) {
      CHECK_EQUAL(kStreamGrainBytes % arrays, 0u);
      CHECK_EQUAL(kStreamGrainBytes / arrays % kernels.block_bytes, 0u);
    }
  }
}

TEST(ceilings_streams, patterns_have_their_names_and_arrays) {
  CHECK_EQUAL(std::string(name_of(Pattern::kLoad)), "load");
  CHECK_EQUAL(std::string(name_of(Pattern::kTriad)), "triad");
  CHECK_EQUAL(arrays_of(Pattern::kLoad), 1);
  CHECK_EQUAL(arrays_of(Pattern::kCopy), 2);
  CHECK_EQUAL(arrays_of(Pattern::kTriad), 3);
}

}  // namespace pyperf::test
