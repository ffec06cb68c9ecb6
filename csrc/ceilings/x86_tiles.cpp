// SPDX-License-Identifier: Apache-2.0
#include "ceilings/chain_step.hpp"
#include "ceilings/kernel_lists.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pyperf {

#if defined(__x86_64__)
namespace {

constexpr int kRows = 16;
constexpr int kRowBytes = 64;
constexpr std::size_t kTileBytes = std::size_t{kRows} * kRowBytes;
// A product takes 52 cycles and another can begin every 16 (Intel's optimisation manual, chapter on AMX): 4 would do;
// of the 8 tiles three hold operands.
constexpr int kCount = 5;

struct alignas(64) TileConfiguration {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

TileConfiguration full_tiles() {
  TileConfiguration made;
  for (int tile = 0; tile < 8; ++tile) {
    made.row_bytes[tile] = kRowBytes;
    made.rows[tile] = kRows;
  }
  return made;
}

// Tiles 0 to 4 are the accumulators, 5 to 7 x, y and z. The numbers of tiles are part of the instructions.
PYPERF_TARGET("amx-tile")
void load(const TileConfiguration& configuration, const Operands& operands, const Accumulators& accumulators) {
  _tile_loadconfig(&configuration);
  _tile_loadd(0, accumulators.bytes, kRowBytes);
  _tile_loadd(1, accumulators.bytes + kTileBytes, kRowBytes);
  _tile_loadd(2, accumulators.bytes + 2 * kTileBytes, kRowBytes);
  _tile_loadd(3, accumulators.bytes + 3 * kTileBytes, kRowBytes);
  _tile_loadd(4, accumulators.bytes + 4 * kTileBytes, kRowBytes);
  _tile_loadd(5, operands.x, kRowBytes);
  _tile_loadd(6, operands.y, kRowBytes);
  _tile_loadd(7, operands.z, kRowBytes);
}

PYPERF_TARGET("amx-tile")
void store(Accumulators& accumulators) {
  _tile_stored(0, accumulators.bytes, kRowBytes);
  _tile_stored(1, accumulators.bytes + kTileBytes, kRowBytes);
  _tile_stored(2, accumulators.bytes + 2 * kTileBytes, kRowBytes);
  _tile_stored(3, accumulators.bytes + 3 * kTileBytes, kRowBytes);
  _tile_stored(4, accumulators.bytes + 4 * kTileBytes, kRowBytes);
  _tile_release();
}

template <int kAdds>
PYPERF_TARGET("amx-tile,amx-bf16")
std::uint64_t bfloat16_amx(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  const TileConfiguration configuration = full_tiles();
  load(configuration, operands, accumulators);
  for (; repeats > 0; --repeats) {
    _tile_dpbf16ps(0, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(1, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(2, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(3, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(4, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(0, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(1, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(2, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(3, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbf16ps(4, 5, 7);
    chain_step<kAdds>(chain, step);
  }
  store(accumulators);
  return chain;
}

template <int kAdds>
PYPERF_TARGET("amx-tile,amx-int8")
std::uint64_t int8_amx(const Operands& operands, Accumulators& accumulators, std::int64_t repeats) {
  std::uint64_t chain = 0;
  const std::uint64_t step = operands.step;
  const TileConfiguration configuration = full_tiles();
  load(configuration, operands, accumulators);
  for (; repeats > 0; --repeats) {
    _tile_dpbusd(0, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(1, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(2, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(3, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(4, 5, 6);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(0, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(1, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(2, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(3, 5, 7);
    chain_step<kAdds>(chain, step);
    _tile_dpbusd(4, 5, 7);
    chain_step<kAdds>(chain, step);
  }
  store(accumulators);
  return chain;
}

constexpr std::int64_t flops(std::int64_t depth) { return 2 * 2 * kCount * std::int64_t{kRows} * 16 * depth; }

constexpr ComputeKernel kKernels[] = {
    {Precision::kBfloat16, "amx bf16", &Features::amx_bf16, flops(32), &bfloat16_amx<0>, 2 * kCount * 32,
     &bfloat16_amx<32>},
    {Precision::kInt8, "amx int8", &Features::amx_int8, flops(64), &int8_amx<0>, 2 * kCount * 32, &int8_amx<32>},
};

}  // namespace

std::span<const ComputeKernel> x86_tile_kernels() { return kKernels; }
#else
std::span<const ComputeKernel> x86_tile_kernels() { return {}; }
#endif

}  // namespace pyperf
