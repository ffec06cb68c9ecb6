// SPDX-License-Identifier: Apache-2.0
#include "ceilings/stream_memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <limits>
#include <string>

#include "core/error.hpp"

namespace pyperf {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20U;

// Numbers from 1 to 2 of which no two neighbours are equal.
void fill(double* memory, std::size_t count) {
  std::uint64_t state = 1;
  for (std::size_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;  // Knuth's, of MMIX
    memory[i] = 1.0 + static_cast<double>(state >> 11U) / static_cast<double>(std::uint64_t{1} << 53U);
  }
}

}  // namespace

StreamMemory::StreamMemory(ThreadTeam& team, std::size_t bytes) : bytes_(bytes) {
  if (bytes < kPage) throw UsageError("a stream needs at least a page of memory for each thread");
  const auto no_room = [&] {
    return OutOfMemoryError("no memory for the streams: " + std::to_string(bytes) + " bytes are needed for each of " +
                            std::to_string(team.size()) + " threads");
  };
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw no_room();
  mapped_bytes_ = (bytes + kPage - 1) / kPage * kPage + kHugePage;
  mappings_.assign(team.size(), MAP_FAILED);
  starts_.assign(team.size(), nullptr);
  for (std::size_t i = 0; i < team.size(); ++i) {
    mappings_[i] = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mappings_[i] == MAP_FAILED) {
      for (std::size_t made = 0; made < i; ++made) munmap(mappings_[made], mapped_bytes_);
      throw no_room();
    }
    const auto address = reinterpret_cast<std::uintptr_t>(mappings_[i]);
    starts_[i] = reinterpret_cast<double*>((address + kHugePage - 1) / kHugePage * kHugePage);
#if defined(MADV_HUGEPAGE)
    (void)madvise(mappings_[i], mapped_bytes_, MADV_HUGEPAGE);  // a wish
#endif
  }
  team.run([this](std::size_t thread) { fill(starts_[thread], bytes_ / sizeof(double)); });
}

StreamMemory::~StreamMemory() {
  for (void* const mapping : mappings_) munmap(mapping, mapped_bytes_);
}

}  // namespace pyperf
