// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include "world.hpp"

namespace fake_cuda {

bool Gate::is_open() const {
  auto* word = reinterpret_cast<std::uint32_t*>(static_cast<std::byte*>(flag.block->address()) + flag.offset);
  const std::uint32_t seen = std::atomic_ref<std::uint32_t>(*word).load(std::memory_order_acquire);
  switch (condition) {
    case CU_STREAM_WAIT_VALUE_GEQ:
      return static_cast<std::int32_t>(seen - value) >= 0;
    case CU_STREAM_WAIT_VALUE_EQ:
      return seen == value;
    case CU_STREAM_WAIT_VALUE_AND:
      return (seen & value) != 0;
    default:
      return ~(seen | value) != 0;
  }
}

// Nothing where it does not end by itself. The clock stands between calls, so a gate that is found open was opened now.
std::optional<std::int64_t> World::end_of_first_ns(const Stream& stream) const {
  if (stream.operations.empty()) return std::nullopt;
  const Operation& first = stream.operations.front();
  const std::int64_t start_ns = std::max(stream.free_at_ns, first.earliest_ns);
  if (first.hangs) return std::nullopt;
  if (!first.gate) return start_ns + first.duration_ns;
  if (!first.gate->is_open()) return std::nullopt;
  return std::max(start_ns, now_ns());
}

void World::end_first(Stream& stream, std::int64_t end_ns) {
  const Operation first = std::move(stream.operations.front());
  stream.operations.pop_front();
  stream.free_at_ns = end_ns;
  stream.last_done = first.id;
  if (first.at_end) first.at_end(end_ns);
}

void World::advance_to(std::int64_t time_ns) {
  while (fatal() == CUDA_SUCCESS) {
    std::shared_ptr<Stream> next;
    std::pair<std::int64_t, std::int64_t> earliest;
    for (const auto& stream : queues_) {
      const auto end_ns = end_of_first_ns(*stream);
      if (!end_ns || *end_ns > time_ns) continue;
      const std::pair candidate(*end_ns, stream->operations.front().id);
      if (next != nullptr && earliest <= candidate) continue;
      next = stream;
      earliest = candidate;
    }
    if (next == nullptr) break;
    now_ns_.store(std::max(now_ns(), earliest.first), std::memory_order_relaxed);
    end_first(*next, earliest.first);
  }
  now_ns_.store(std::max(now_ns(), time_ns), std::memory_order_relaxed);
  std::erase_if(queues_, [](const auto& stream) { return stream->destroyed && stream->operations.empty(); });
}

CUresult World::wait(Lock& lock, std::vector<Target> targets) {
  constexpr std::chrono::microseconds kLookAgain(100);
  const std::uint64_t epoch = epoch_;
  for (;;) {
    if (epoch != epoch_) return CUDA_ERROR_DEINITIALIZED;
    if (const CUresult error = fatal(); error != CUDA_SUCCESS) return error;
    std::erase_if(targets, [](const Target& target) { return target.stream->last_done >= target.operation; });
    if (targets.empty()) return CUDA_SUCCESS;
    std::optional<std::int64_t> next_ns;
    for (const auto& [stream, _] : targets) {
      const auto end_ns = end_of_first_ns(*stream);
      if (end_ns && (!next_ns || *end_ns < *next_ns)) next_ns = end_ns;
    }
    if (next_ns) {
      advance_to(std::max(now_ns(), *next_ns));
    } else {
      lock.unlock();
      std::this_thread::sleep_for(kLookAgain);
      lock.lock();
    }
  }
}

CUresult World::submit(Lock& lock, const std::shared_ptr<Stream>& stream, Operation operation, bool is_work) {
  const auto& queued = stream->operations;
  if (is_work && settings.block_behind_gate) {
    const auto gate =
        std::find_if(queued.rbegin(), queued.rend(), [](const auto& each) { return each.gate != nullptr; });
    if (gate != queued.rend()) {
      if (const CUresult error = wait(lock, {{stream, gate->id}}); error != CUDA_SUCCESS) return error;
    }
  }
  if (const std::size_t limit = settings.queue_limit; limit > 0 && queued.size() >= limit) {
    if (const CUresult error = wait(lock, {{stream, queued[queued.size() - limit].id}}); error != CUDA_SUCCESS) {
      return error;
    }
  }
  operation.id = ++last_operation_;
  operation.earliest_ns = now_ns();
  operation.duration_ns =
      std::llround(static_cast<double>(std::max<std::int64_t>(0, operation.duration_ns)) * settings.clock_factor);
  operation.hangs = settings.hang_all || stream->hangs;
  stream->last_queued = operation.id;
  stream->operations.push_back(std::move(operation));
  return CUDA_SUCCESS;
}

std::vector<Target> World::all_queued(Handle context) const {
  std::vector<Target> targets;
  for (const auto& stream : queues_) {
    if (context == 0 || stream->context == context) targets.push_back({stream, stream->last_queued});
  }
  return targets;
}

std::shared_ptr<Stream> World::add_stream(Handle context) {
  return queues_.emplace_back(std::make_shared<Stream>(Stream{.context = context}));
}

void World::unhang() {
  settings.hang_all = false;
  for (const auto& stream : queues_) {
    stream->hangs = false;
    for (auto& operation : stream->operations) {
      if (operation.hangs) operation.earliest_ns = now_ns();
      operation.hangs = false;
    }
  }
}

void World::destroy_context(Handle context) {
  for (const auto& [stream, last] : all_queued(context)) {  // who waits for it need not wait longer
    stream->operations.clear();
    stream->last_done = last;
  }
  std::erase_if(queues_, [&](const auto& stream) { return stream->context == context; });
  contexts.erase(context);
}

// Not thread_local: LeakSanitizer crashes over the thread-local storage of a library that was loaded late.
std::vector<Handle>& World::context_stack() {
  struct Stack {
    std::uint64_t epoch = 0;
    std::vector<Handle> contexts = {};
  };
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    pthread_key_create(&made, [](void* stack) { delete static_cast<Stack*>(stack); });
    return made;
  }();
  auto* stack = static_cast<Stack*>(pthread_getspecific(key));
  if (stack == nullptr) pthread_setspecific(key, stack = new Stack);
  if (stack->epoch != epoch_) *stack = {epoch_};
  return stack->contexts;
}

void World::reset() {
  ++epoch_;
  now_ns_.store(0, std::memory_order_relaxed);
  settings = Settings{};
  contexts.clear();
  streams.clear();
  events.clear();
  graphs.clear();
  for (const auto& stream : queues_)
    stream->operations.clear();  // an operation may hold its event, and that its stream
  queues_.clear();
  memory.reset();
  faults.clear();
  sticky = CUDA_SUCCESS;
  lost = false;
  calls.clear();
  logs = false;
  log.clear();
  for (int i = 0; i < kMostDevices; ++i) {
    devices[i] = {"Fake GPU " + std::to_string(i), std::size_t{80} << 30, default_attributes(i)};
  }
}

World& world() {
  static World& only = *new World;
  return only;
}

}  // namespace fake_cuda
