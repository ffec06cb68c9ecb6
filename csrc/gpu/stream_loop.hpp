// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpu/event_ring.hpp"
#include "gpu/gate.hpp"
#include "gpu/l2_flush.hpp"
#include "gpu/overhead.hpp"
#include "gpu/stream_runner.hpp"

// Work on a stream is anything with
//
//   const StreamView& stream() const;
//   void submit();             queues the work on that stream; throws pyperf::Error when it fails
//   void h2d(); void d2h();    queue the copies of inputs and outputs, only where the plan includes transfers
//   void settle();             clean-up that is no part of the work; runs outside of the windows
//
// and, as in core/loop.hpp, kNeedsPython and an optional BatchScope; and an optional WaitScope, made for as long as the
// host waits for the GPU and is in no hurry (to let go of a lock that others wait for, say).
namespace pyperf::gpu {

template <class Work>
auto wait_scope_of(int) -> typename Work::WaitScope;
template <class Work>
auto wait_scope_of(...) -> NoWaitScope;

// The loop over work on one stream or several. Its own cost is one event recorded before the host's window opens, one
// inside of it (what is waited for), and two readings of the clock.
template <class Work, class Clock = SteadyClock>
class StreamLoop final : public StreamRunner {
 public:
  // `works` lie on a stream of their own each, of one device; mode latency and cold run the first.
  StreamLoop(std::vector<Work*> works, const StreamPlan& plan) : plan_(plan), context_(context_of(works)) {
    check(plan_);
    for (Work* work : works) lanes_.emplace_back(*work, context_, plan_.in_flight + 1, end_flags());
    if (plan_.wait == Wait::kBlock) waiter_ = std::make_unique<BlockingWaiter<Clock>>(context_);
  }

  // After a wait that Ctrl-C ended the work may hang, and then to free memory would wait for ever: it gets its timeout.
  ~StreamLoop() override {
    if (!in_wait_ || context_->is_lost()) return;
    try {
      const Context::Current current(*context_);
      for (const auto& lane : lanes_) {
        marks_.flushed.record(lane.work->stream().handle());
        spin_until_done<Clock>(marks_.flushed, plan_.timeout_ns);
      }
    } catch (const Error&) {  // then the context is lost, and nothing is freed in it
    }
  }
  StreamLoop(const StreamLoop&) = delete;
  StreamLoop& operator=(const StreamLoop&) = delete;

  std::span<const Quantity> quantities(Mode mode) const override {
    static constexpr std::array kPeriod{Quantity::kPeriod};
    static constexpr std::array kLatency{Quantity::kLatency, Quantity::kSubmit, Quantity::kGpu, Quantity::kH2d,
                                         Quantity::kD2h};
    // The gate holds the launch back, so that the host's time until the end says nothing of a caller's.
    static constexpr std::array kCold{Quantity::kGpu, Quantity::kSubmit, Quantity::kH2d, Quantity::kD2h};
    const std::size_t without = plan_.include_transfers ? 0 : 2;
    if (mode == Mode::kThroughput) return kPeriod;
    if (mode == Mode::kCold) return std::span(kCold).first(kCold.size() - without);
    return std::span(kLatency).first(kLatency.size() - without);
  }

  void latency(Rows samples, std::int64_t& done) override {
    done = 0;
    Batch batch(*this);
    for (; done < rows_of(samples); ++done) {
      const Moments host = run_once([] {});
      samples.column(0)[done] = host.end_ns - host.begin_ns;
      samples.column(1)[done] = host.submitted_ns - host.begin_ns;
      write_spans(samples, 2, done);
    }
  }

  void cold(Rows samples, std::int64_t& done) override {
    done = 0;
    Batch batch(*this);
    prepare_cold();
    Work& work = *lanes_[0].work;
    std::int64_t timeouts = 0;
    std::int64_t timeouts_in_a_row = 0;
    while (done < rows_of(samples)) {
      l2_flush_->queue(work.stream().handle());
      bool in_time = true;
      Moments host{};
      if (holds_back_) {
        HeldBack held(*gate_, work.stream().handle());
        host = run_once([&] { in_time = held.release(); });
      } else {
        marks_.flushed.record(work.stream().handle());
        wait_for(marks_.flushed);
        host = run_once([] {});
      }
      if (!in_time) {  // submit waited for something behind the gate: the span holds the watchdog's timeout
        find([](Findings& found) { ++found.gate_timeouts; });
        ++timeouts;
        if (++timeouts_in_a_row == kMostTimeouts || (timeouts > kMostTimeouts && timeouts > done)) fail_gate(timeouts);
        continue;
      }
      timeouts_in_a_row = 0;
      samples.column(1)[done] = host.submitted_ns - host.begin_ns;
      write_spans(samples, 0, done, 2);
      ++done;
    }
  }

  // Many calls queued on every stream; a sample is the period between two completions, whichever stream they are on, by
  // the device's clock. Calls of several streams end in bunches, so that with N of them it is the mean of N periods in
  // a row. One more call a stream goes before, so that the queues are full when the first period begins.
  void throughput(Rows samples, std::int64_t& done) override {
    done = 0;
    const auto lanes = static_cast<std::int64_t>(lanes_.size());
    const std::int64_t calls = (rows_of(samples) + 1) * lanes;
    completed_ns_.clear();
    completed_ns_.reserve(static_cast<std::size_t>(calls));
    Batch batch(*this);
    marks_.begin.record(lanes_[0].work->stream().handle());
    for (auto& lane : lanes_) lane.ring.restart(marks_.begin);
    try {
      for (std::int64_t call = 0; call < calls; ++call) {
        Lane& lane = lanes_[static_cast<std::size_t>(call % lanes)];
        if (lane.ring.is_full()) retire(lane);
        queue_all(*lane.work);
        lane.ring.record(lane.work->stream().handle());
        lane.work->settle();
      }
      for (auto& lane : lanes_) {
        while (!lane.ring.is_empty()) retire(lane);
      }
    } catch (...) {
      forget_unsure_completions();
      write_periods(samples, done);
      throw;
    }
    write_periods(samples, done);
  }

  std::int64_t batched(std::int64_t calls) override {
    Batch batch(*this);
    Work& work = *lanes_[0].work;
    const std::int64_t begin_ns = Clock::now_ns();
    for (std::int64_t i = 0; i < calls; ++i) {
      queue_all(work);
      marks_.end.record(work.stream().handle());
      wait_for(marks_.end);
      work.settle();
    }
    return Clock::now_ns() - begin_ns;
  }

  Asynchrony probe_asynchrony() override {
    Batch batch(*this);
    if (!plan_.gate || !make_gate()) return look_at_waits();
    for (int attempt = 0; attempt < kProbes; ++attempt) {
      HeldBack held(*gate_, lanes_[0].work->stream().handle());
      bool in_time = false;
      run_once([&] { in_time = held.release(); });
      if (in_time) return conclude(Asynchrony::kProved, "submit returned while the stream was held back");
    }
    return conclude(Asynchrony::kSynchronises,
                    "submit did not return within " + std::to_string(gate_->timeout_ns() / 1'000'000) +
                        " ms while the stream was held back, " + std::to_string(kProbes) + " times");
  }

  EventOverhead measure_overhead() override { return measure_event_overhead(lanes_[0].work->stream(), plan_); }

  std::int64_t now_ns() const override { return Clock::now_ns(); }
  bool needs_python() const override { return Work::kNeedsPython; }

 private:
  static constexpr std::int64_t kMostTimeouts = 5;
  static constexpr int kProbes = 3;
  static constexpr int kLooks = 10;
  static constexpr std::int64_t kShortWaitNs = 20'000;

  using BatchScope = decltype(batch_scope_of<Work>(0));
  using WaitScope = decltype(wait_scope_of<Work>(0));

  struct Lane {
    Lane(Work& its_work, const std::shared_ptr<Context>& context, std::int64_t events, unsigned flags)
        : work(&its_work), ring(context, events, flags) {}
    Work* work;
    EventRing ring;
  };

  struct Marks {
    explicit Marks(const std::shared_ptr<Context>& context, unsigned end_flags)
        : begin(context), copied_in(context), worked(context), end(context, end_flags), flushed(context, end_flags) {}
    Event begin;
    Event copied_in;
    Event worked;
    Event end;
    Event flushed;
  };

  struct Moments {
    std::int64_t begin_ns;
    std::int64_t submitted_ns;
    std::int64_t end_ns;
  };

  // What holds while a batch runs: the context is this thread's, and the work's own scope.
  struct Batch {
    explicit Batch(StreamLoop& loop) : current(*loop.context_), scope(*loop.lanes_[0].work) {
      for (auto& lane : loop.lanes_) lane.work->settle();  // of what threw before it got there
    }
    Context::Current current;
    BatchScope scope;
  };

  static std::shared_ptr<Context> context_of(const std::vector<Work*>& works) {
    if (works.empty()) throw UsageError("there is no work to run");
    const auto& context = works[0]->stream().shared_context();
    for (const Work* work : works) {
      if (work->stream().shared_context() != context) throw UsageError("the streams are not of one GPU");
    }
    return context;
  }

  static std::int64_t rows_of(const Rows& samples) { return static_cast<std::int64_t>(samples.size()); }

  unsigned end_flags() const { return plan_.wait == Wait::kBlock ? CU_EVENT_BLOCKING_SYNC : CU_EVENT_DEFAULT; }

  void queue_all(Work& work) {
    if (plan_.include_transfers) work.h2d();
    work.submit();
    if (plan_.include_transfers) work.d2h();
  }

  // One call of the first lane. `queued` runs when all of it is queued, outside of the submit window.
  template <class Queued>
  Moments run_once(Queued queued) {
    Work& work = *lanes_[0].work;
    const CUstream stream = work.stream().handle();
    Moments host{};
    marks_.begin.record(stream);
    host.begin_ns = Clock::now_ns();
    if (plan_.include_transfers) {
      work.h2d();
      marks_.copied_in.record(stream);
      work.submit();
      marks_.worked.record(stream);
      work.d2h();
    } else {
      work.submit();
    }
    host.submitted_ns = Clock::now_ns();
    marks_.end.record(stream);
    queued();
    host.end_ns = wait_for(marks_.end);
    work.settle();
    return host;
  }

  // gpu at `column`, and the transfers after it, or at `transfers` where something stands in between.
  void write_spans(Rows samples, std::size_t column, std::int64_t row, std::size_t transfers = 0) {
    if (!plan_.include_transfers) {
      samples.column(column)[row] = elapsed_ns(marks_.begin, marks_.end);
      return;
    }
    if (transfers == 0) transfers = column + 1;
    samples.column(column)[row] = elapsed_ns(marks_.copied_in, marks_.worked);
    samples.column(transfers)[row] = elapsed_ns(marks_.begin, marks_.copied_in);
    samples.column(transfers + 1)[row] = elapsed_ns(marks_.worked, marks_.end);
  }

  std::int64_t wait_for(const Event& event) {
    in_wait_ = true;
    const std::int64_t end_ns = spin_or_sleep(event);
    in_wait_ = false;
    return end_ns;
  }

  std::int64_t spin_or_sleep(const Event& event) {
    if (waiter_ == nullptr) return spin_until_done<Clock, WaitScope>(event, plan_.timeout_ns, plan_.while_waiting);
    [[maybe_unused]] const WaitScope scope;
    return waiter_->wait(event, plan_.timeout_ns, plan_.while_waiting);
  }

  void retire(Lane& lane) {
    wait_for(lane.ring.oldest());
    completed_ns_.push_back(lane.ring.retire());
  }

  // On one stream what was seen to end ended in that order; on several, one may yet tell of an end before it.
  void forget_unsure_completions() {
    std::int64_t sure_until_ns = lanes_[0].ring.last_ns();
    for (const auto& lane : lanes_) sure_until_ns = std::min(sure_until_ns, lane.ring.last_ns());
    std::erase_if(completed_ns_, [&](std::int64_t completed_ns) { return completed_ns > sure_until_ns; });
  }

  // As many as the completions make.
  void write_periods(Rows samples, std::int64_t& done) {
    std::sort(completed_ns_.begin(), completed_ns_.end());
    const std::size_t lanes = lanes_.size();
    for (std::size_t end = 2 * lanes - 1; end < completed_ns_.size(); end += lanes) {
      samples[static_cast<std::size_t>(done++)] =
          (completed_ns_[end] - completed_ns_[end - lanes]) / static_cast<std::int64_t>(lanes);
    }
  }

  bool make_gate() {
    if (gate_ == nullptr) {
      auto gate = std::make_unique<Gate>(context_, plan_.gate_timeout_ns);
      gate_works_ = gate->works_on(lanes_[0].work->stream().handle());
      gate_ = std::move(gate);
    }
    return gate_works_;
  }

  // Without a gate: where the host waits after submit for much longer than for no work at all, each time, submit did
  // not wait. A short wait proves nothing.
  Asynchrony look_at_waits() {
    const std::int64_t nothing_ns = measure_overhead().latency_ns;
    for (int look = 0; look < kLooks; ++look) {
      const Moments host = run_once([] {});
      if (host.end_ns - host.submitted_ns > 3 * nothing_ns + kShortWaitNs) continue;
      return conclude(Asynchrony::kUnknown,
                      "the work was all but done when submit had returned, and the stream was not held back");
    }
    return conclude(Asynchrony::kProved, "the work went on for long after submit had returned");
  }

  Asynchrony conclude(Asynchrony asynchrony, std::string evidence) {
    looked_ = true;
    find([&](Findings& found) {
      found.asynchrony = asynchrony;
      found.evidence = std::move(evidence);
    });
    return asynchrony;
  }

  void prepare_cold() {
    if (l2_flush_ != nullptr) return;
    if (plan_.gate && !looked_) probe_asynchrony();
    l2_flush_ = std::make_unique<L2Flush>(context_);
    const std::string reason = !plan_.gate                                 ? "switched off"
                               : asynchrony() == Asynchrony::kSynchronises ? "submit waits for the work itself"
                               : !gate_works_                              ? "this device cannot be held back"
                                                                           : "";
    holds_back_ = reason.empty();
    find([&](Findings& found) {
      found.gated = holds_back_;
      found.gate_reason = reason;
      found.flush_bytes = static_cast<std::int64_t>(l2_flush_->bytes());
    });
  }

  [[noreturn]] void fail_gate(std::int64_t timeouts) {
    throw MeasurementError(
        "the launch could not be held back: " + std::to_string(timeouts) +
        " times in this batch submit did not return while the stream waited, as when it allocates, reads a "
        "result back, or queues more than the driver takes. Measure it without the gate, or in mode "
        "latency");
  }

  StreamPlan plan_;
  std::shared_ptr<Context> context_;
  std::deque<Lane> lanes_;  // a lane does not move: its events are in use
  Marks marks_{context_, end_flags()};
  std::unique_ptr<BlockingWaiter<Clock>> waiter_;
  std::unique_ptr<Gate> gate_;
  bool gate_works_ = false;
  bool in_wait_ = false;     // a wait that did not end well left it so
  bool looked_ = false;      // for asynchrony
  bool holds_back_ = false;  // every cold launch
  std::unique_ptr<L2Flush> l2_flush_;
  std::vector<std::int64_t> completed_ns_;
};

}  // namespace pyperf::gpu
