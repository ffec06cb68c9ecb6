// SPDX-License-Identifier: Apache-2.0
#include "core/measure.hpp"

#include <algorithm>

#include "core/batching.hpp"
#include "core/error.hpp"

namespace pyperf {

std::int64_t run_batch(Runner& runner, Mode mode, std::int64_t calls, Samples& samples) {
  if (calls < 1) throw UsageError("a batch has at least one call");
  const auto room = samples.prepare(calls, runner.quantities(mode));
  std::int64_t done = 0;
  const std::int64_t begin_ns = runner.now_ns();
  try {
    switch (mode) {
      case Mode::kLatency:
        runner.latency(room, done);
        break;
      case Mode::kThroughput:
        runner.throughput(room, done);
        break;
      case Mode::kCold:
        runner.cold(room, done);
        break;
    }
  } catch (...) {
    samples.commit(done);
    throw;
  }
  const std::int64_t elapsed_ns = runner.now_ns() - begin_ns;
  samples.commit(done);
  return elapsed_ns;
}

MeasureOutcome measure(Runner& runner, Mode mode, const StopPlan& plan, Samples& samples, Checkpoint& checkpoint) {
  StopRule rule(plan, [&runner] { return runner.now_ns(); });
  MeasureOutcome outcome;
  BatchSize batch_size;
  const std::int64_t first = samples.count();
  const std::int64_t begin_ns = runner.now_ns();
  for (;;) {
    const std::int64_t taken = samples.count() - first;
    const std::int64_t left_ns = plan.max_duration_ns - (runner.now_ns() - begin_ns);
    const std::int64_t calls = std::min(batch_size.next(left_ns), plan.max_samples - taken);
    const std::int64_t batch_ns = run_batch(runner, mode, calls, samples);
    batch_size.observe(calls, batch_ns);
    outcome.duration_ns += batch_ns;

    const auto measured = samples.view(first);
    const std::int64_t elapsed_ns = runner.now_ns() - begin_ns;
    const auto stop = rule.observe(measured, elapsed_ns);
    outcome.looks = rule.looks();
    outcome.looks_ns = rule.looks_ns();
    outcome.relative_half_width = rule.half_width();
    const Progress progress{Phase::kMeasure, static_cast<std::int64_t>(measured.size()), elapsed_ns,
                            plan.max_duration_ns, measured.empty() ? 0 : measured.back()};
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
