// SPDX-License-Identifier: Apache-2.0
#include "core/measure.hpp"

#include <algorithm>

#include "core/batching.hpp"

namespace pyperf {
namespace {

void run_batch(Runner& runner, Mode mode, std::int64_t calls, Samples& samples) {
  const auto room = samples.prepare(calls);
  std::int64_t done = 0;
  try {
    mode == Mode::kLatency ? runner.latency(room, done) : runner.throughput(room, done);
  } catch (...) {
    samples.commit(done);
    throw;
  }
  samples.commit(done);
}

}  // namespace

MeasureOutcome measure(Runner& runner, Mode mode, const StopPlan& plan, Samples& samples, Checkpoint& checkpoint) {
  StopRule rule(plan);
  MeasureOutcome outcome;
  BatchSize batch_size;
  const std::int64_t first = samples.count();
  const std::int64_t begin_ns = runner.now_ns();
  for (;;) {
    const std::int64_t taken = samples.count() - first;
    const std::int64_t batch_begin_ns = runner.now_ns();
    const std::int64_t left_ns = plan.max_duration_ns - (batch_begin_ns - begin_ns);
    const std::int64_t calls = std::min(batch_size.next(left_ns), plan.max_samples - taken);
    run_batch(runner, mode, calls, samples);
    const std::int64_t now_ns = runner.now_ns();
    batch_size.observe(calls, now_ns - batch_begin_ns);
    outcome.duration_ns += now_ns - batch_begin_ns;

    const auto measured = samples.view(first);
    const auto stop = rule.observe(measured, now_ns - begin_ns);
    outcome.looks = rule.looks();
    const Progress progress{Phase::kMeasure, static_cast<std::int64_t>(measured.size()), now_ns - begin_ns,
                            plan.max_duration_ns, measured.back()};
    if (!checkpoint.pass(progress)) {
      outcome.reason = StopReason::kInterrupted;
      return outcome;
    }
    if (stop) {
      outcome.reason = *stop;
      return outcome;
    }
  }
}

}  // namespace pyperf
