// SPDX-License-Identifier: Apache-2.0
#include <sched.h>

#include <algorithm>
#include <thread>

#include "check.hpp"
#include "core/cache_flush.hpp"
#include "core/error.hpp"
#include "thread_limit.hpp"

namespace pyperf::test {
namespace {

constexpr std::size_t kBytes = 1 << 16;
constexpr std::size_t kWordsInLine = 8;

std::vector<CacheFlush::Share> shares(int count) {
  std::vector<CacheFlush::Share> list;
  for (int i = 0; i < count; ++i) list.push_back({i % 2, kBytes});
  return list;
}

// How often every line of a stream has been written to; -1 where the lines differ.
std::int64_t times_written(const CacheFlush& flush, std::size_t stream) {
  const auto memory = flush.memory_of(stream);
  for (std::size_t at = 0; at < memory.size(); at += kWordsInLine) {
    if (memory[at] != memory[0]) return -1;
  }
  return static_cast<std::int64_t>(memory[0]);
}

template <class Exception>
void check_refused(std::vector<CacheFlush::Share> with, const std::string& part) {
  try {
    const CacheFlush made(std::move(with));
    fail("check_refused", 0, "it was made all the same, without: " + part);
  } catch (const Exception& error) {
    if (std::string(error.what()).find(part) == std::string::npos) fail("check_refused", 0, error.what());
  }
}

}  // namespace

TEST(cache_flush, every_stream_writes_to_all_of_its_lines_at_every_flush) {
  CacheFlush flush({{0, kBytes}, {0, 3 * kBytes}, {1, 64}});
  CHECK_EQUAL(flush.bytes(), 4 * kBytes + 64);
  CHECK_EQUAL(flush.memory_of(0).size_bytes(), kBytes);
  CHECK_EQUAL(flush.memory_of(1).size_bytes(), 3 * kBytes);
  CHECK_EQUAL(flush.memory_of(2).size_bytes(), 64u);
  for (std::int64_t round = 1; round <= 50; ++round) {
    flush.flush();
    for (std::size_t stream = 0; stream < 3; ++stream) CHECK_EQUAL(times_written(flush, stream), round);
  }
}

TEST(cache_flush, it_can_go_without_having_flushed) {
  for (int round = 0; round < 50; ++round) const CacheFlush flush(shares(4));
}

TEST(cache_flush, several_callers_flush_one_after_another) {
  CacheFlush flush(shares(3));
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) flush.flush();
    });
  }
  for (auto& caller : callers) caller.join();
  for (std::size_t stream = 0; stream < 3; ++stream) CHECK_EQUAL(times_written(flush, stream), 200);
}

TEST(cache_flush, it_leaves_its_callers_processors_alone) {
  cpu_set_t before;
  cpu_set_t after;
  sched_getaffinity(0, sizeof before, &before);
  CacheFlush flush(shares(2));
  flush.flush();
  sched_getaffinity(0, sizeof after, &after);
  CHECK(CPU_EQUAL(&before, &after));
}

TEST(cache_flush, a_processor_that_is_not_there_is_streamed_for_elsewhere) {
  CacheFlush flush({{CPU_SETSIZE - 1, kBytes}});
  flush.flush();
  CHECK_EQUAL(times_written(flush, 0), 1);
}

TEST(cache_flush, shares_that_make_no_sense_are_refused) {
  check_refused<UsageError>({}, "no processor");
  check_refused<UsageError>({{0, kBytes}, {-1, kBytes}}, "no such processor");
  check_refused<UsageError>({{CPU_SETSIZE, kBytes}}, "no such processor");
  check_refused<UsageError>({{0, 63}}, "at least one cache line");
}

TEST(cache_flush, more_memory_than_there_is_says_for_which_processor) {
  check_refused<OutOfMemoryError>({{0, kBytes}, {1, SIZE_MAX}}, "bytes are needed for processor 1");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which end the process at such an allocation
  constexpr std::size_t kNoMachineHas = std::size_t{1} << 50;
  check_refused<OutOfMemoryError>({{2, kNoMachineHas}}, std::to_string(kNoMachineHas) + " bytes are needed");
#endif
}

TEST(cache_flush, without_threads_for_all_streams_those_there_are_end_and_it_is_an_error) {
  for (const int there : {0, 1, 3}) {
    const ThreadLimit limit(there);
    check_refused<MeasurementError>(shares(4), "starts no further thread");
  }
  CacheFlush flush(shares(4));
  flush.flush();
  CHECK_EQUAL(times_written(flush, 3), 1);
}

}  // namespace pyperf::test
