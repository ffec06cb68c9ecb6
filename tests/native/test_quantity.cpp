// SPDX-License-Identifier: Apache-2.0
#include <set>
#include <string>

#include "check.hpp"
#include "core/quantity.hpp"
#include "fakes.hpp"

namespace pyperf::test {

TEST(quantity, each_has_a_name_of_its_own) {
  std::set<std::string> names;
  for (const auto quantity :
       {Quantity::kLatency, Quantity::kPeriod, Quantity::kSubmit, Quantity::kGpu, Quantity::kH2d, Quantity::kD2h}) {
    names.insert(name_of(quantity));
  }
  CHECK(names == (std::set<std::string>{"latency", "period", "submit", "gpu", "h2d", "d2h"}));
  std::set<std::string> modes;
  for (const auto mode : {Mode::kLatency, Mode::kThroughput, Mode::kCold}) modes.insert(name_of(mode));
  CHECK(modes == (std::set<std::string>{"latency", "throughput", "cold"}));
}

TEST(quantity, a_target_on_the_host_has_one_in_each_mode) {
  FakeTarget target(always(0));
  const FakeLoop loop(target);
  for (const auto mode : {Mode::kLatency, Mode::kThroughput, Mode::kCold}) {
    const auto quantities = loop.quantities(mode);
    CHECK_EQUAL(quantities.size(), 1u);
    CHECK(quantities[0] == (mode == Mode::kThroughput ? Quantity::kPeriod : Quantity::kLatency));
  }
}

TEST(quantity, rows_reach_their_columns_by_the_stride) {
  std::vector<std::int64_t> memory(12);
  const Rows rows(memory.data() + 1, 3, 4);  // the second to the last row of three columns
  CHECK_EQUAL(rows.size(), 3u);
  for (std::size_t column = 0; column < 3; ++column) {
    for (std::size_t row = 0; row < rows.size(); ++row) {
      rows.column(column)[row] = static_cast<std::int64_t>(10 * column + row + 1);
    }
  }
  CHECK(memory == (std::vector<std::int64_t>{0, 1, 2, 3, 0, 11, 12, 13, 0, 21, 22, 23}));
}

TEST(quantity, rows_are_a_range_of_the_judged_column) {
  std::vector<std::int64_t> memory{5, 6, 7, 0, 0, 0};
  const Rows rows(memory.data(), 3, 3);
  CHECK(std::vector<std::int64_t>(rows.begin(), rows.end()) == (std::vector<std::int64_t>{5, 6, 7}));
  rows[1] = 60;
  CHECK_EQUAL(rows.column(0)[1], 60);
  std::vector<std::int64_t> only{1, 2};
  CHECK_EQUAL(Rows(only).end() - Rows(only).begin(), 2);
}

}  // namespace pyperf::test
