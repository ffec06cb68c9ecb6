// SPDX-License-Identifier: Apache-2.0
#include "ceilings/measure_ceiling.hpp"

#include <algorithm>
#include <memory>

#include "ceilings/core_clock.hpp"
#include "ceilings/window.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"

namespace pyperf {
namespace {

constexpr std::int64_t kClockNs = 500'000;
constexpr std::int64_t kWarmNs = 2'000'000;
constexpr double kFactor = 0.5;                               // of the triad: 1 to 2 plus half of it stays finite
constexpr std::size_t kPieceBytes = std::size_t{256} << 10U;  // of each array, between two looks at the clock
constexpr std::size_t kWarmedBytes = std::size_t{64} << 20U;  // a thread's caches do not hold more than this
constexpr std::size_t kLineBytes = 64;

void check(const Runs& runs) {
  if (runs.window_ns <= 0 || runs.count <= 0) throw UsageError("a ceiling needs a run, and a window of time for it");
}

std::int64_t warm_ns(const Runs& runs) { return std::min(kWarmNs, runs.window_ns); }

// Runs a job that gives every thread's part as often as is asked for.
template <class OneRun>
std::vector<CeilingRun> repeat(const Runs& runs, Checkpoint& checkpoint, OneRun one_run) {
  const std::int64_t begin_ns = SteadyClock::now_ns();
  std::vector<CeilingRun> done;
  done.reserve(static_cast<std::size_t>(runs.count));
  while (static_cast<int>(done.size()) < runs.count) {
    done.push_back(one_run());
    const std::int64_t elapsed_ns = SteadyClock::now_ns() - begin_ns;
    const Progress progress{Phase::kMeasure, static_cast<std::int64_t>(done.size()), elapsed_ns,
                            runs.count * runs.window_ns, runs.window_ns};
    if (!checkpoint.pass(progress)) break;
  }
  return done;
}

// What a thread streams through, and where it is.
struct Stream {
  double* arrays[3] = {};
  std::size_t count = 0;  // doubles an array
  std::size_t piece = 0;  // doubles a call
  std::size_t at = 0;
  std::uint64_t sum = 0;  // of what was loaded, so that loading is for something
};

Stream laid_out(double* memory, std::size_t bytes, int arrays) {
  const std::size_t array_bytes = bytes / static_cast<std::size_t>(arrays) / kLineBytes * kLineBytes;
  Stream made;
  made.count = array_bytes / sizeof(double);
  for (int i = 0; i < arrays; ++i) made.arrays[i] = memory + static_cast<std::size_t>(i) * made.count;
  made.piece = std::min(made.count, kPieceBytes / sizeof(double));
  return made;
}

// Goes over the next piece `passes` times and returns the bytes read and written.
double advance(Stream& stream, const StreamKernels& kernels, Pattern pattern, bool around, std::int64_t passes) {
  const std::size_t count = std::min(stream.piece, stream.count - stream.at);
  double* const a = stream.arrays[0] + stream.at;
  switch (pattern) {
    case Pattern::kLoad:
      stream.sum += kernels.load(a, count, passes);
      break;
    case Pattern::kCopy:
      (around ? kernels.copy_around : kernels.copy)(a, stream.arrays[1] + stream.at, count, passes);
      break;
    case Pattern::kTriad:
      (around ? kernels.triad_around : kernels.triad)(a, stream.arrays[1] + stream.at, stream.arrays[2] + stream.at,
                                                      kFactor, count, passes);
      break;
  }
  stream.at += count;
  if (stream.at == stream.count) stream.at = 0;
  return static_cast<double>(count) * sizeof(double) * arrays_of(pattern) * static_cast<double>(passes);
}

}  // namespace

std::vector<CeilingRun> measure_compute(ThreadTeam& team, const ComputeKernel& kernel, const Runs& runs,
                                        Checkpoint& checkpoint) {
  check(runs);
  struct alignas(kLineBytes) PerThread {
    Operands operands;
    Accumulators accumulators;
    Part part;
    double clock_hz;
  };
  const auto threads = std::make_unique<PerThread[]>(team.size());
  std::vector<Part> parts(team.size());
  for (std::size_t i = 0; i < team.size(); ++i) {
    threads[i].operands = random_operands(kernel.precision, i);
    threads[i].accumulators = random_accumulators(kernel.precision, i);
  }
  return repeat(runs, checkpoint, [&] {
    team.run([&](std::size_t i) {
      PerThread& own = threads[i];
      const auto call = [&](std::int64_t repeats) { kernel.run(own.operands, own.accumulators, repeats); };
      const std::int64_t repeats = repeats_a_call(warm_ns(runs), call);
      const double flops = static_cast<double>(repeats * kernel.flops_per_repeat);
      team.together();
      own.part = fill_window(runs.window_ns, [&] {
        call(repeats);
        return flops;
      });
      own.clock_hz = clock_under_hz(kernel, own.operands, own.accumulators, kClockNs);
    });
    double clock_hz = 0;
    for (std::size_t i = 0; i < team.size(); ++i) {
      parts[i] = threads[i].part;
      clock_hz += threads[i].clock_hz / static_cast<double>(team.size());
    }
    return CeilingRun{rate_per_s(parts), clock_hz};
  });
}

std::vector<CeilingRun> measure_stream(ThreadTeam& team, StreamMemory& memory, const StreamKernels& kernels,
                                       Pattern pattern, bool around_caches, std::size_t bytes, const Runs& runs,
                                       Checkpoint& checkpoint) {
  check(runs);
  const int arrays = arrays_of(pattern);
  if (memory.threads() != team.size()) throw UsageError("the memory of a stream is that of another team of threads");
  if (bytes > memory.bytes()) throw UsageError("a stream is longer than its memory");
  if (bytes < static_cast<std::size_t>(arrays) * kLineBytes) throw UsageError("a stream has at least a line an array");
  std::vector<Stream> streams;
  for (std::size_t i = 0; i < team.size(); ++i) streams.push_back(laid_out(memory.of(i), bytes, arrays));
  std::vector<Part> parts(team.size());
  bool first = true;
  return repeat(runs, checkpoint, [&] {
    team.run([&](std::size_t i) {
      Stream stream = streams[i];  // on a stack of the thread's own: neighbours would share lines
      const auto call = [&](std::int64_t passes) { return advance(stream, kernels, pattern, around_caches, passes); };
      // Only what is gone over whole in each call may be gone over several times at once.
      const bool whole = stream.piece == stream.count;
      std::int64_t passes = 1;
      if (whole) {
        passes = repeats_a_call(warm_ns(runs), call);
      } else {
        (void)fill_window(warm_ns(runs), [&] { return call(1); });
        // A long stream evicts itself: gone over once, nothing of what filled the memory is in a cache any longer.
        if (first || bytes <= kWarmedBytes) {
          for (std::size_t done = 0; done < stream.count; done += stream.piece) (void)call(1);
        }
      }
      team.together();
      const Part part = fill_window(runs.window_ns, [&] { return call(passes); });
      streams[i] = stream;
      parts[i] = part;
    });
    first = false;
    return CeilingRun{rate_per_s(parts), 0};
  });
}

}  // namespace pyperf
