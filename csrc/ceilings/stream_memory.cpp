// SPDX-License-Identifier: Apache-2.0
#include "ceilings/stream_memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace pyperf {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20U;
constexpr std::size_t kPiece = std::size_t{32} << 20U;  // filled in some 10 ms, or in 100 ms by pages of 4 KiB

// Numbers from 1 to 2 of which no two neighbours are equal.
void fill(double* memory, std::size_t count, std::uint64_t& state) {
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;  // Knuth's, of MMIX
    memory[i] = 1.0 + static_cast<double>(state >> 11U) / static_cast<double>(std::uint64_t{1} << 53U);
  }
}

}  // namespace

void StreamMemory::Unmap::operator()(void* mapping) const { munmap(mapping, bytes); }

StreamMemory::StreamMemory(ThreadTeam& team, std::size_t bytes, Checkpoint& checkpoint) : bytes_(bytes) {
  if (bytes < kPage) throw UsageError("a stream needs at least a page of memory for each thread");
  const auto no_room = [&] {
    return OutOfMemoryError("no memory for the streams: " + std::to_string(bytes) + " bytes are needed for each of " +
                            std::to_string(team.size()) + " threads");
  };
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw no_room();
  const std::size_t mapped_bytes = (bytes + kPage - 1) / kPage * kPage + kHugePage;
  for (std::size_t i = 0; i < team.size(); ++i) {
    void* const mapping = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) throw no_room();
    mappings_.emplace_back(mapping, Unmap{mapped_bytes});
    const auto address = reinterpret_cast<std::uintptr_t>(mapping);
    starts_.push_back(reinterpret_cast<double*>((address + kHugePage - 1) / kHugePage * kHugePage));
#if defined(MADV_HUGEPAGE)
    (void)madvise(mapping, mapped_bytes, MADV_HUGEPAGE);  // a wish
#endif
  }
  const std::int64_t begin_ns = SteadyClock::now_ns();
  std::vector<std::uint64_t> states(team.size(), 1);
  for (std::size_t done = 0; done < bytes; done += kPiece) {
    const std::size_t count = std::min(kPiece, bytes - done) / sizeof(double);
    team.run([&](std::size_t thread) { fill(starts_[thread] + done / sizeof(double), count, states[thread]); });
    const auto piece = static_cast<std::int64_t>(done / kPiece) + 1;
    if (!checkpoint.pass({Phase::kMeasure, piece, SteadyClock::now_ns() - begin_ns, 0, 0})) break;
  }
}

}  // namespace pyperf
