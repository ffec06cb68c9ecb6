// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "check.hpp"
#include "core/samples.hpp"

namespace pyperf::test {
namespace {

constexpr std::array kThree{Quantity::kLatency, Quantity::kSubmit, Quantity::kGpu};

void fill(Samples& samples, std::int64_t count, std::int64_t first) {
  auto room = samples.prepare(count);
  for (std::int64_t i = 0; i < count; ++i) room[static_cast<std::size_t>(i)] = first + i;
  samples.commit(count);
}

}  // namespace

TEST(samples, keep_their_order_while_they_grow) {
  Samples samples;
  for (std::int64_t batch = 0; batch < 100; ++batch) fill(samples, 37, batch * 37);
  CHECK_EQUAL(samples.count(), 3'700);
  for (std::size_t i = 0; i < 3'700; ++i) CHECK_EQUAL(samples.view()[i], static_cast<std::int64_t>(i));
}

TEST(samples, that_were_not_committed_do_not_count) {
  Samples samples;
  CHECK_EQUAL(samples.prepare(10).size(), 10u);
  samples.commit(4);
  CHECK_EQUAL(samples.count(), 4);
  CHECK_EQUAL(samples.view().size(), 4u);
}

TEST(samples, prepared_room_is_written_so_that_its_pages_are_there) {
  Samples samples;
  for (const auto value : samples.prepare(1'000)) CHECK_EQUAL(value, 0);
}

TEST(samples, do_not_move_within_room_that_is_there) {
  Samples samples;
  const auto* first = samples.prepare(100).data();
  fill(samples, 60, 0);
  CHECK_EQUAL(samples.prepare(40).data(), first + 60);
}

TEST(samples, a_view_can_begin_later) {
  Samples samples;
  fill(samples, 10, 0);
  CHECK_EQUAL(samples.view(7).size(), 3u);
  CHECK_EQUAL(samples.view(7).front(), 7);
  CHECK(samples.view(10).empty());
}

TEST(samples, a_snapshot_outlives_growth_and_the_samples_themselves) {
  std::shared_ptr<const std::span<const std::int64_t>> early;
  {
    Samples samples;
    fill(samples, 5, 100);
    early = samples.snapshot();
    CHECK_EQUAL(early->data(), samples.view().data());
    fill(samples, 100'000, 0);
    CHECK(early->data() != samples.view().data());
  }
  CHECK_EQUAL(early->size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) CHECK_EQUAL((*early)[i], static_cast<std::int64_t>(100 + i));
}

TEST(samples, every_column_is_kept_while_they_grow) {
  Samples samples;
  std::int64_t next = 0;
  for (std::int64_t batch = 1; batch <= 40; ++batch) {
    const auto room = samples.prepare(batch, kThree);
    for (std::size_t row = 0; row < room.size(); ++row, ++next) {
      for (std::size_t column = 0; column < 3; ++column) {
        room.column(column)[row] = next + static_cast<std::int64_t>(column) * 1'000'000;
      }
    }
    samples.commit(batch);
    for (std::size_t column = 0; column < 3; ++column) {
      const auto view = samples.view(0, column);
      const auto snapshot = samples.snapshot(column);
      CHECK_EQUAL(view.size(), static_cast<std::size_t>(next));
      CHECK_EQUAL(snapshot->size(), static_cast<std::size_t>(next));
      for (std::size_t row = 0; row < view.size(); ++row) {
        const auto wanted = static_cast<std::int64_t>(row + column * 1'000'000);
        if (view[row] != wanted || (*snapshot)[row] != wanted) fail("column", static_cast<int>(column), "has moved");
      }
    }
  }
}

TEST(samples, a_snapshot_of_any_column_outlives_growth) {
  Samples samples;
  const auto room = samples.prepare(2, kThree);
  room.column(2)[0] = 7;
  room.column(2)[1] = 8;
  samples.commit(2);
  const auto early = samples.snapshot(2);
  samples.prepare(100'000, kThree);
  samples.commit(100'000);
  CHECK_EQUAL(early->size(), 2u);
  CHECK_EQUAL((*early)[0], 7);
  CHECK_EQUAL((*early)[1], 8);
}

TEST(samples, other_quantities_are_refused_also_where_they_are_as_many) {
  constexpr std::array kPeriod{Quantity::kPeriod};
  Samples samples;
  CHECK(samples.quantities().empty());
  fill(samples, 5, 100);
  CHECK(samples.quantities() == std::vector{Quantity::kLatency});
  CHECK_THROWS(UsageError, samples.prepare(1, kPeriod));
  CHECK_THROWS(UsageError, samples.prepare(1, kThree));
  fill(samples, 5, 105);
  CHECK_EQUAL(samples.count(), 10);
  for (std::size_t i = 0; i < 10; ++i) CHECK_EQUAL(samples.view()[i], static_cast<std::int64_t>(100 + i));
}

TEST(samples, without_samples_other_quantities_can_be_chosen) {
  Samples samples;
  samples.prepare(100);  // and then the first call failed
  const auto room = samples.prepare(2, kThree);
  CHECK(samples.quantities() == std::vector(kThree.begin(), kThree.end()));
  for (std::size_t column = 0; column < 3; ++column) room.column(column)[1] = static_cast<std::int64_t>(column);
  samples.commit(2);
  for (std::size_t column = 0; column < 3; ++column) {
    CHECK_EQUAL(samples.view(0, column)[1], static_cast<std::int64_t>(column));
  }
}

TEST(samples, snapshots_of_other_threads_hold_committed_samples_only) {
  Samples samples;
  std::int64_t wrong = 0;
  std::thread reader([&] {
    for (std::size_t size = 0; size < 20'000;) {
      const auto snapshot = samples.snapshot();
      size = snapshot->size();
      for (std::size_t i = 0; i < size; i += 97) wrong += (*snapshot)[i] == static_cast<std::int64_t>(i) ? 0 : 1;
    }
  });
  for (std::int64_t batch = 0; batch < 200; ++batch) fill(samples, 100, batch * 100);
  reader.join();
  CHECK_EQUAL(wrong, 0);
}

}  // namespace pyperf::test
