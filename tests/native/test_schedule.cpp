// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <set>

#include "check.hpp"
#include "core/error.hpp"
#include "core/schedule.hpp"
#include "fakes.hpp"

namespace pyperf::test {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

// Targets with their loops and samples. Without jitter unless a test asks: the fake clock stands still while it spins.
struct Contest {
  explicit Contest(const std::vector<Duration>& durations, std::int64_t stop_at = -1) : checkpoint(stop_at) {
    for (const auto& duration : durations) {
      targets.push_back(std::make_unique<FakeTarget>(duration));
      loops.push_back(std::make_unique<FakeLoop>(*targets.back()));
      samples.push_back(std::make_unique<Samples>());
    }
    plan.max_jitter_ns = 0;
    plan.max_duration_ns = 1'000 * kSecond;
    checkpoint.on_pass = [this] {
      for (const auto& target : targets) CHECK(!target->inside_batch);
    };
  }

  ScheduleOutcome run() {
    std::vector<Runner*> runners;
    std::vector<Samples*> into;
    for (const auto& loop : loops) runners.push_back(loop.get());
    for (const auto& one : samples) into.push_back(one.get());
    return interleave(runners, plan, into, checkpoint);
  }

  FreshClock clock;
  std::vector<std::unique_ptr<FakeTarget>> targets;
  std::vector<std::unique_ptr<FakeLoop>> loops;
  std::vector<std::unique_ptr<Samples>> samples;
  FakeCheckpoint checkpoint;
  SchedulePlan plan;
};

std::vector<Duration> three_alike() { return {always(kMillisecond), always(kMillisecond), always(kMillisecond)}; }

// "021", "102", ...: the order of each round.
std::vector<std::string> orders(const ScheduleOutcome& outcome) {
  std::vector<std::string> rounds(static_cast<std::size_t>(outcome.rounds));
  for (const auto& block : outcome.blocks)
    rounds[static_cast<std::size_t>(block.round)] += std::to_string(block.target);
  return rounds;
}

}  // namespace

TEST(schedule, every_round_has_every_target_once) {
  Contest contest(three_alike());
  contest.plan.min_rounds = 50;
  const auto outcome = contest.run();
  CHECK_EQUAL(outcome.rounds, 50);
  CHECK_EQUAL(outcome.blocks.size(), 150u);
  for (auto order : orders(outcome)) {
    std::sort(order.begin(), order.end());
    CHECK_EQUAL(order, "012");
  }
}

TEST(schedule, the_order_is_drawn_anew_in_every_round) {
  Contest contest(three_alike());
  contest.plan.min_rounds = 300;
  const auto drawn = orders(contest.run());
  for (const char* order : {"012", "021", "102", "120", "201", "210"}) {
    const auto count = std::count(drawn.begin(), drawn.end(), order);
    CHECK(count > 25 && count < 80);  // 50, give or take four standard deviations
  }
}

TEST(schedule, the_seed_decides_the_order) {
  const auto with_seed = [](std::uint64_t seed) {
    Contest contest(three_alike());
    contest.plan.min_rounds = 20;
    contest.plan.seed = seed;
    return orders(contest.run());
  };
  CHECK(with_seed(1) == with_seed(1));
  CHECK(with_seed(1) != with_seed(2));
}

TEST(schedule, a_block_is_at_least_100_ms_and_10_calls_and_up_to_a_quarter_longer) {
  Contest contest({always(kMillisecond), always(50 * kMillisecond)});
  contest.plan.min_rounds = 40;
  const auto outcome = contest.run();
  std::set<std::int64_t> lengths;
  for (const auto& block : outcome.blocks) {
    if (block.target == 0) {
      CHECK(block.count >= 100 && block.count <= 126);
      lengths.insert(block.count);
    } else {
      CHECK_EQUAL(block.count, 10);
    }
  }
  CHECK(lengths.size() > 5);  // drawn, against ticks
}

TEST(schedule, blocks_say_where_their_samples_are) {
  Contest contest({[](std::int64_t call) { return kMillisecond + call % 13; }, always(2 * kMillisecond)});
  const auto outcome = contest.run();
  std::vector<std::int64_t> ends(2, 0);
  for (const auto& block : outcome.blocks) {
    const auto target = static_cast<std::size_t>(block.target);
    CHECK_EQUAL(block.begin, ends[target]);
    ends[target] += block.count;
    auto view = contest.samples[target]->view(block.begin).first(static_cast<std::size_t>(block.count));
    std::vector<std::int64_t> sorted(view.begin(), view.end());
    std::sort(sorted.begin(), sorted.end());
    CHECK_EQUAL(block.median_ns, sorted[(sorted.size() - 1) / 2]);
  }
  CHECK_EQUAL(ends[0], contest.samples[0]->count());
  CHECK_EQUAL(ends[1], contest.samples[1]->count());
}

TEST(schedule, discarded_calls_are_counted_and_are_no_samples) {
  Contest contest({always(kMillisecond), always(100'000)});
  const auto outcome = contest.run();
  std::vector<std::int64_t> calls(2, 0);
  for (const auto& block : outcome.blocks) {
    CHECK(block.discarded >= 3);
    calls[static_cast<std::size_t>(block.target)] += block.count + block.discarded;
  }
  CHECK_EQUAL(calls[0], contest.targets[0]->calls);
  CHECK_EQUAL(calls[1], contest.targets[1]->calls);
}

TEST(schedule, calls_after_a_switch_are_discarded_until_they_are_steady) {
  // After a switch a target is five times slower, and recovers by half with each call.
  auto last = std::make_shared<int>(-1);
  auto since = std::make_shared<std::int64_t>(0);
  const auto disturbed = [last, since](int self) {
    return [last, since, self](std::int64_t) {
      *since = *last == self ? *since + 1 : 0;
      *last = self;
      return kMillisecond + static_cast<std::int64_t>(4e6 * std::pow(0.5, static_cast<double>(*since)));
    };
  };
  Contest contest({disturbed(0), disturbed(1)});
  const auto outcome = contest.run();
  for (std::size_t i = 1; i < outcome.blocks.size(); ++i) {
    // The last target of a round can be the first of the next: no switch, nothing to wait out.
    const bool switched = outcome.blocks[i].target != outcome.blocks[i - 1].target;
    CHECK(switched ? outcome.blocks[i].discarded >= 7 : outcome.blocks[i].discarded == 3);
  }
  for (const auto& samples : contest.samples) {
    for (const auto sample : samples->view()) CHECK(sample < kMillisecond * 105 / 100);
  }
}

TEST(schedule, a_target_that_never_settles_loses_ten_chunks_a_block_at_most) {
  const auto restless = [](std::int64_t call) { return call % 2 == 0 ? kMillisecond : 2 * kMillisecond; };
  Contest contest({restless, restless});
  contest.plan.max_duration_ns = 20 * kSecond;
  const auto outcome = contest.run();
  for (const auto& block : outcome.blocks) CHECK_EQUAL(block.discarded, 10);
}

TEST(schedule, ends_when_the_interval_of_the_ratio_is_narrow) {
  Contest contest({always(kMillisecond), always(2 * kMillisecond)});
  const auto outcome = contest.run();
  CHECK(outcome.reason == StopReason::kConverged);
  CHECK_EQUAL(outcome.rounds, 11);
  CHECK_EQUAL(outcome.looks, 1);
  CHECK_EQUAL(outcome.duration_ns, FakeClock::time_ns);
}

TEST(schedule, a_ratio_that_varies_from_round_to_round_takes_more_rounds) {
  // Times wander between blocks, by some percent, and stay within one.
  const auto wandering = [](std::uint64_t seed) {
    auto random = std::make_shared<std::mt19937_64>(seed);
    return [random, block_end = std::int64_t{-1}, level = std::int64_t{0}](std::int64_t) mutable {
      if (FakeClock::time_ns > block_end) {
        level = kMillisecond + static_cast<std::int64_t>((*random)() % 100'000);
        block_end = FakeClock::time_ns + 100 * kMillisecond;
      }
      return level;
    };
  };
  Contest contest({wandering(1), wandering(2)});
  const auto outcome = contest.run();
  CHECK(outcome.reason == StopReason::kConverged);
  CHECK(outcome.rounds > 12);
  CHECK(outcome.looks > 1 && outcome.looks < outcome.rounds / 2);  // in geometric steps

  Contest looser({wandering(1), wandering(2)});
  looser.plan.relative_half_width = 0.1;
  CHECK_EQUAL(looser.run().rounds, 11);
}

TEST(schedule, ratios_of_two_kinds_do_not_stop_it_where_one_kind_is_seen_by_chance) {
  // A block is 3% slower or faster as a coin falls, as where its place in the round mattered: the ratio is 1.
  std::int64_t stopped = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    auto random = std::make_shared<std::mt19937_64>(seed);
    const auto coin = [random, block_end = std::int64_t{-1}, level = std::int64_t{0}](std::int64_t) mutable {
      if (FakeClock::time_ns > block_end) {
        level = (*random)() % 2 == 0 ? 970'000 : 1'030'000;
        block_end = FakeClock::time_ns + 100 * kMillisecond;
      }
      return level;
    };
    Contest contest({always(kMillisecond), coin});
    contest.plan.relative_half_width = 0.005;
    contest.plan.max_duration_ns = 18 * kSecond;  // some 64 rounds
    stopped += contest.run().reason == StopReason::kConverged ? 1 : 0;
  }
  CHECK(stopped <= 10);  // 5%; without the guard 17
}

TEST(schedule, every_ratio_has_to_be_narrow) {
  const auto jumping = [](std::int64_t call) { return (call / 150) % 2 == 0 ? kMillisecond : 2 * kMillisecond; };
  Contest contest({always(kMillisecond), always(kMillisecond), jumping});
  contest.plan.max_duration_ns = 30 * kSecond;
  CHECK(contest.run().reason == StopReason::kMaxDuration);
}

TEST(schedule, the_budget_ends_it) {
  const auto jumping = [](std::int64_t call) { return (call / 150) % 2 == 0 ? kMillisecond : 2 * kMillisecond; };
  Contest contest({always(kMillisecond), jumping});
  contest.plan.max_duration_ns = 10 * kSecond;
  const auto outcome = contest.run();
  CHECK(outcome.reason == StopReason::kMaxDuration);
  CHECK(outcome.rounds > 20);
  CHECK(outcome.duration_ns >= 10 * kSecond && outcome.duration_ns < 10 * kSecond + 60 * kMillisecond);
  CHECK_EQUAL(outcome.blocks.size(), static_cast<std::size_t>(2 * outcome.rounds));
}

TEST(schedule, the_budget_ends_it_within_a_round_of_slow_calls) {
  Contest contest({always(kSecond), always(kSecond)});
  contest.plan.max_duration_ns = 20 * kSecond;  // a round takes 26 s: twice 3 calls to discard and 10 to keep
  const auto outcome = contest.run();
  CHECK(outcome.reason == StopReason::kMaxDuration);
  CHECK_EQUAL(outcome.duration_ns, 20 * kSecond);
  CHECK_EQUAL(outcome.rounds, 0);
  CHECK(outcome.blocks.empty());
  CHECK(contest.samples[0]->count() + contest.samples[1]->count() > 10);
}

TEST(schedule, a_last_look_is_taken_when_the_budget_is_spent) {
  // Ratios jump at first and stay after that; the looks at 8, 10, 13 ... rounds find them wide for a while.
  const auto late = [](std::int64_t call) {
    return FakeClock::time_ns < 2 * kSecond && (call / 150) % 2 == 0 ? 3 * kMillisecond : kMillisecond;
  };
  Contest patient({always(kMillisecond), late});
  const auto converged = patient.run();
  Contest contest({always(kMillisecond), late});
  contest.plan.max_duration_ns = converged.duration_ns - 110 * kMillisecond;  // within the round before that look
  const auto outcome = contest.run();
  CHECK(converged.looks > 1);
  CHECK_EQUAL(outcome.rounds, converged.rounds - 1);
  CHECK(outcome.reason == StopReason::kConverged);
}

TEST(schedule, a_round_that_was_not_finished_is_dropped) {
  for (std::int64_t stop_at = 1; stop_at < 60; ++stop_at) {
    Contest contest(three_alike(), stop_at);
    const auto outcome = contest.run();
    CHECK(outcome.reason == StopReason::kInterrupted);
    CHECK_EQUAL(outcome.blocks.size(), static_cast<std::size_t>(3 * outcome.rounds));
    for (const auto& block : outcome.blocks) CHECK(block.round < outcome.rounds);
    CHECK_EQUAL(contest.checkpoint.seen.back().calls, outcome.rounds);
  }
}

TEST(schedule, blocks_begin_after_a_pause_that_is_drawn) {
  const auto pauses = [](std::int64_t max_jitter_ns) {
    std::vector<std::int64_t> gaps;
    std::int64_t previous_end_ns = -1;
    int previous = -1;
    const auto watching = [&](int self) {
      return [&, self](std::int64_t) {
        if (previous != self && previous != -1) gaps.push_back(FakeClock::time_ns - previous_end_ns);
        previous = self;
        previous_end_ns = FakeClock::time_ns + kMillisecond;
        return kMillisecond;
      };
    };
    Contest contest({watching(0), watching(1)});
    FakeClock::read_cost_ns = 1'000;
    contest.plan.max_jitter_ns = max_jitter_ns;
    contest.plan.min_rounds = 40;
    contest.run();
    std::sort(gaps.begin(), gaps.end());
    return gaps;
  };
  const auto drawn = pauses(10 * kMillisecond);
  CHECK(drawn.front() < 3 * kMillisecond);
  CHECK(drawn.back() > 7 * kMillisecond);
  CHECK(drawn.back() < 11 * kMillisecond);
  CHECK(pauses(0).back() < kMillisecond);
}

TEST(schedule, a_target_that_throws_leaves_the_samples_so_far) {
  Contest contest({always(kMillisecond), always(kMillisecond)});
  contest.targets[1]->throw_at = 250;
  CHECK_THROWS(MeasurementError, contest.run());
  CHECK(contest.samples[0]->count() > 100);
  CHECK(contest.samples[1]->count() > 200);
}

TEST(schedule, progress_counts_rounds) {
  Contest contest({always(kMillisecond), always(kMillisecond)});
  contest.run();
  const auto& last = contest.checkpoint.seen.back();
  CHECK(last.phase == Phase::kSchedule);
  CHECK_EQUAL(last.calls, 10);  // the eleventh is under way
  CHECK_EQUAL(last.budget_ns, contest.plan.max_duration_ns);
  CHECK_EQUAL(last.last_ns, kMillisecond);
}

TEST(schedule, plans_and_casts_that_make_no_sense_are_refused) {
  CHECK_THROWS(UsageError, Contest({always(1)}).run());
  Contest missing(three_alike());
  std::vector<Runner*> runners{missing.loops[0].get(), missing.loops[1].get()};
  std::vector<Samples*> into{missing.samples[0].get()};
  CHECK_THROWS(UsageError, interleave(runners, missing.plan, into, missing.checkpoint));
  const auto refused = [](auto change) {
    SchedulePlan plan;
    change(plan);
    CHECK_THROWS(UsageError, check(plan));
  };
  refused([](SchedulePlan& plan) { plan.min_block_calls = 0; });
  refused([](SchedulePlan& plan) { plan.min_block_ns = -1; });
  refused([](SchedulePlan& plan) { plan.max_jitter_ns = -1; });
  refused([](SchedulePlan& plan) { plan.min_rounds = 0; });
  refused([](SchedulePlan& plan) { plan.max_duration_ns = -1; });
  refused([](SchedulePlan& plan) { plan.relative_half_width = std::nan(""); });
  refused([](SchedulePlan& plan) { plan.confidence = 0.0; });
}

}  // namespace pyperf::test
