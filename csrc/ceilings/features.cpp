// SPDX-License-Identifier: Apache-2.0
#include "ceilings/features.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace pyperf {
namespace {

bool bit(std::uint32_t word, int number) { return (word >> number & 1U) != 0; }

#if defined(__x86_64__)

std::uint64_t xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<std::uint64_t>(high) << 32U | low;
}

// Linux keeps the 8 KiB of tiles only for processes that ask (Documentation/arch/x86/xstate.rst).
bool ask_for_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

Features detect() {
  Cpuid cpuid;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return {};
  cpuid.leaf1_ecx = ecx;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0) {
    cpuid.leaf7_ebx = ebx;
    cpuid.leaf7_ecx = ecx;
    cpuid.leaf7_edx = edx;
    const std::uint32_t last_subleaf = eax;
    if (last_subleaf >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0) cpuid.leaf7_1_eax = eax;
  }
  constexpr int kOsxsave = 27;
  if (!bit(cpuid.leaf1_ecx, kOsxsave)) return {};
  const std::uint64_t saved = xcr0();
  const Features with_tiles = features_of(cpuid, saved, true);
  const bool tiles = (with_tiles.amx_bf16 || with_tiles.amx_int8) && ask_for_tiles();
  return features_of(cpuid, saved, tiles);
}

#elif defined(__aarch64__)

Features detect() {
  Features found;
  found.neon = true;  // part of the base architecture
#if defined(__linux__)
  const unsigned long first = getauxval(AT_HWCAP);
  const unsigned long second = getauxval(AT_HWCAP2);
  constexpr unsigned long kVectorHalf = 1UL << 10U;  // HWCAP_ASIMDHP
  constexpr unsigned long kDot = 1UL << 20U;         // HWCAP_ASIMDDP
  constexpr unsigned long kBf16 = 1UL << 14U;        // HWCAP2_BF16
  found.neon_fp16 = (first & kVectorHalf) != 0;
  found.neon_dot = (first & kDot) != 0;
  found.neon_bf16 = (second & kBf16) != 0;
#endif
  return found;
}

#else

Features detect() { return {}; }

#endif

}  // namespace

Features features_of(const Cpuid& cpuid, std::uint64_t xcr0, bool tiles_permitted) {
  constexpr std::uint64_t kVectors = 0x6;     // XMM and the upper halves of YMM
  constexpr std::uint64_t kWide = 0xe6;       // and masks, and all of ZMM
  constexpr std::uint64_t kTiles = 0x6'0000;  // tiles and their configuration
  const bool vectors = (xcr0 & kVectors) == kVectors && bit(cpuid.leaf1_ecx, 28);
  const bool wide = vectors && (xcr0 & kWide) == kWide && bit(cpuid.leaf7_ebx, 16);
  const bool tiles = tiles_permitted && (xcr0 & kTiles) == kTiles && bit(cpuid.leaf7_edx, 24);
  Features found;
  found.avx2_fma = vectors && bit(cpuid.leaf1_ecx, 12) && bit(cpuid.leaf7_ebx, 5);
  found.avx512f = wide;
  found.avx512_bf16 = wide && bit(cpuid.leaf7_1_eax, 5);
  found.avx512_fp16 = wide && bit(cpuid.leaf7_edx, 23);
  found.avx512_vnni = wide && bit(cpuid.leaf7_ecx, 11);
  found.avx_vnni = found.avx2_fma && bit(cpuid.leaf7_1_eax, 4);
  found.amx_bf16 = tiles && bit(cpuid.leaf7_edx, 22);
  found.amx_int8 = tiles && bit(cpuid.leaf7_edx, 25);
  return found;
}

const Features& detected_features() {
  static const Features found = detect();
  return found;
}

}  // namespace pyperf
