// SPDX-License-Identifier: Apache-2.0
#include <sched.h>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "ceilings/core_clock.hpp"
#include "ceilings/measure_ceiling.hpp"
#include "ceilings/window.hpp"
#include "check.hpp"
#include "core/error.hpp"

namespace pyperf::test {
namespace {

std::vector<int> usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus;
}

// As many threads as asked for, on processors that there are: several on one where there are too few.
std::vector<int> cpus_of(std::size_t threads) {
  const auto usable = usable_cpus();
  std::vector<int> cpus;
  for (std::size_t i = 0; i < threads; ++i) cpus.push_back(usable[i % usable.size()]);
  return cpus;
}

constexpr Runs kShort{200'000, 3};

struct Goes : Checkpoint {
  bool pass(const Progress& progress) override {
    seen.push_back(progress.calls);
    return seen.size() < most;
  }
  std::size_t most = 1000;
  std::vector<std::int64_t> seen;
};

struct Interrupts : Checkpoint {
  bool pass(const Progress&) override { throw std::runtime_error("Ctrl-C"); }
};

ComputeKernel a_kernel() { return compute_kernels(detected_features(), Precision::kFloat32).front(); }

}  // namespace

TEST(ceilings_team, every_thread_runs_on_its_own_processor) {
  const auto cpus = cpus_of(3);
  ThreadTeam team(cpus);
  std::vector<int> seen(cpus.size(), -1);
  team.run([&](std::size_t thread) { seen[thread] = sched_getcpu(); });
  for (std::size_t i = 0; i < cpus.size(); ++i) CHECK_EQUAL(seen[i], cpus[i]);
}

TEST(ceilings_team, jobs_come_one_after_another_and_can_meet_any_number_of_times) {
  ThreadTeam team(cpus_of(3));
  std::atomic<int> arrived{0};
  for (int job = 0; job < 20; ++job) {
    arrived = 0;
    std::atomic<int> short_of{0};
    team.run([&](std::size_t) {
      for (int meeting = 1; meeting <= 5; ++meeting) {
        ++arrived;
        team.together();
        if (arrived < 3 * meeting) ++short_of;
        team.together();
      }
    });
    CHECK_EQUAL(short_of.load(), 0);
  }
}

TEST(ceilings_team, what_a_job_throws_arrives_and_the_team_goes_on) {
  ThreadTeam team(cpus_of(2));
  CHECK_THROWS(std::runtime_error, team.run([](std::size_t thread) {
    if (thread == 1) throw std::runtime_error("off");
  }));
  std::atomic<int> done{0};
  team.run([&](std::size_t) { ++done; });
  CHECK_EQUAL(done.load(), 2);
}

TEST(ceilings_team, processors_that_there_cannot_be_are_refused) {
  CHECK_THROWS(UsageError, ThreadTeam({}));
  CHECK_THROWS(UsageError, ThreadTeam({-1}));
  CHECK_THROWS(UsageError, ThreadTeam({CPU_SETSIZE}));
  CHECK_THROWS(MeasurementError, ThreadTeam({usable_cpus().front(), CPU_SETSIZE - 1}));
}

TEST(ceilings_team, a_rate_counts_from_the_first_begin_to_the_last_end) {
  const std::vector<Part> together{{100, 1100, 5}, {100, 1100, 5}};
  CHECK_EQUAL(rate_per_s(together), 1e7);
  const std::vector<Part> apart{{0, 1000, 5}, {1000, 2000, 5}};  // each as fast as above, and never side by side
  CHECK_EQUAL(rate_per_s(apart), 5e6);
}

TEST(ceilings_team, chains_need_the_result_of_every_step) {
  CHECK_EQUAL(add_chain(0, 3), 0u);
  CHECK_EQUAL(add_chain(5, 3), 5u * kChainLength * 3u);
  std::uint64_t power = 1;
  for (int i = 0; i < 2 * kChainLength; ++i) power *= 3;
  CHECK_EQUAL(multiply_chain(2, 3), power);
}

TEST(ceilings_team, a_clock_is_a_number_of_cycles_a_second) {
  const auto kernel = a_kernel();
  Accumulators sums = random_accumulators(kernel.precision, 1);
  for (const double hz : {clock_by_additions_hz(100'000), clock_by_multiplications_hz(100'000),
                          clock_under_hz(kernel, random_operands(kernel.precision, 1), sums, 100'000)}) {
    CHECK(std::isfinite(hz) && hz > 0);
  }
}

TEST(ceilings_team, every_kernel_is_measured_as_often_as_asked_for) {
  ThreadTeam team(cpus_of(2));
  for (const auto precision : {Precision::kFloat32, Precision::kBfloat16, Precision::kInt8}) {
    for (const auto& kernel : compute_kernels(detected_features(), precision)) {
      Goes checkpoint;
      const auto runs = measure_compute(team, kernel, kShort, checkpoint);
      CHECK_EQUAL(runs.size(), 3u);
      CHECK(checkpoint.seen == std::vector<std::int64_t>({1, 2, 3}));
      for (const auto& run : runs) CHECK(run.work_per_s > 0 && run.clock_hz > 0);
    }
  }
}

TEST(ceilings_team, streams_are_measured_within_pieces_and_over_many) {
  ThreadTeam team(cpus_of(2));
  constexpr std::size_t kRoom = std::size_t{2} << 20;
  Goes filling;
  StreamMemory memory(team, kRoom, filling);
  CHECK_EQUAL(filling.seen.size(), 1u);
  CHECK_EQUAL(memory.threads(), 2u);
  for (const auto pattern : {Pattern::kLoad, Pattern::kCopy, Pattern::kTriad}) {
    for (const std::size_t bytes : {std::size_t{3 * 64}, std::size_t{24 << 10}, kRoom}) {
      for (const bool around : {false, true}) {
        Goes checkpoint;
        const auto runs = measure_stream(team, memory, stream_kernels(detected_features()), pattern, around, bytes,
                                         kShort, checkpoint);
        CHECK_EQUAL(runs.size(), 3u);
        for (const auto& run : runs) CHECK(run.work_per_s > 0);
      }
    }
  }
  for (std::size_t i = 0; i < kRoom / sizeof(double); ++i) {
    if (!(memory.of(1)[i] >= 1 && memory.of(1)[i] < 100)) return fail(__FILE__, __LINE__, "a number that grew or died");
  }
}

TEST(ceilings_team, a_checkpoint_ends_a_measurement_between_two_runs) {
  ThreadTeam team(cpus_of(2));
  Goes twice;
  twice.most = 2;
  CHECK_EQUAL(measure_compute(team, a_kernel(), kShort, twice).size(), 2u);
  Interrupts interrupts;
  CHECK_THROWS(std::runtime_error, measure_compute(team, a_kernel(), kShort, interrupts));
  Goes after;
  CHECK_EQUAL(measure_compute(team, a_kernel(), kShort, after).size(), 3u);
}

TEST(ceilings_team, filling_memory_can_be_interrupted_between_pieces) {
  ThreadTeam team(cpus_of(2));
  Goes every_piece;
  const StreamMemory whole(team, std::size_t{80} << 20, every_piece);
  CHECK(every_piece.seen == std::vector<std::int64_t>({1, 2, 3}));
  CHECK(whole.of(1)[(std::size_t{80} << 20) / sizeof(double) - 1] >= 1);
  Interrupts interrupts;
  CHECK_THROWS(std::runtime_error, StreamMemory(team, std::size_t{80} << 20, interrupts));
}

TEST(ceilings_team, what_cannot_be_measured_is_refused) {
  ThreadTeam team(cpus_of(1));
  ThreadTeam other(cpus_of(2));
  Goes checkpoint;
  StreamMemory memory(team, 1 << 16, checkpoint);
  const auto& kernels = stream_kernels(detected_features());
  CHECK_THROWS(UsageError, measure_compute(team, a_kernel(), {0, 1}, checkpoint));
  CHECK_THROWS(UsageError, measure_compute(team, a_kernel(), {1000, 0}, checkpoint));
  CHECK_THROWS(UsageError, measure_stream(other, memory, kernels, Pattern::kLoad, false, 4096, kShort, checkpoint));
  CHECK_THROWS(UsageError, measure_stream(team, memory, kernels, Pattern::kLoad, false, 1 << 20, kShort, checkpoint));
  CHECK_THROWS(UsageError, measure_stream(team, memory, kernels, Pattern::kTriad, false, 100, kShort, checkpoint));
  CHECK_THROWS(UsageError, StreamMemory(team, 100, checkpoint));
  CHECK_THROWS(OutOfMemoryError, StreamMemory(team, std::size_t{1} << 60, checkpoint));
  CHECK_THROWS(OutOfMemoryError, StreamMemory(team, ~std::size_t{0}, checkpoint));
}

}  // namespace pyperf::test
