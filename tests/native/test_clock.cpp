// SPDX-License-Identifier: Apache-2.0
#include "check.hpp"
#include "core/clock.hpp"

namespace pyperf::test {

TEST(clock, the_step_of_a_clock_that_repeats_is_its_smallest_jump) {
  CHECK_EQUAL(smallest_step_ns({0, 0, 100, 0, 200, 0, 100}), 100);
}

TEST(clock, a_clock_that_never_moved_has_the_smallest_step_there_is) { CHECK_EQUAL(smallest_step_ns({0, 0, 0}), 1); }

TEST(clock, the_step_of_a_fine_clock_shows_in_how_its_jumps_differ) {
  // 24 MHz: jumps of 41 and 42 ns, and a longer one at an interruption.
  CHECK_EQUAL(smallest_step_ns({41, 42, 41, 42, 5'000}), 1);
  CHECK_EQUAL(smallest_step_ns({30, 40, 50, 90}), 10);
}

TEST(clock, equal_jumps_bound_the_step_by_their_length) { CHECK_EQUAL(smallest_step_ns({25, 25, 25}), 25); }

TEST(clock, steady_clock_does_not_go_back) {
  std::int64_t previous_ns = SteadyClock::now_ns();
  for (int i = 0; i < 100'000; ++i) {
    const std::int64_t now_ns = SteadyClock::now_ns();
    CHECK(now_ns >= previous_ns);
    previous_ns = now_ns;
  }
}

TEST(clock, what_is_measured_of_the_steady_clock_fits_together) {
  const auto clock = measure_steady_clock();
  CHECK(clock.step_ns >= 1);
  CHECK(clock.read_cost_ns > 0.0);
  CHECK(clock.overhead_ns >= 0);
  CHECK(clock.overhead_ns == 0 || clock.overhead_ns >= clock.step_ns);
}

}  // namespace pyperf::test
