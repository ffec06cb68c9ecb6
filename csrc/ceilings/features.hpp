// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace pyperf {

// Sets of instructions that the kernels here are written for, where the processor has them and the operating system
// keeps their registers.
struct Features {
  bool avx2_fma = false;
  bool avx512f = false;
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool avx512_vnni = false;
  bool avx_vnni = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;
  bool neon = false;
  bool neon_fp16 = false;
  bool neon_bf16 = false;
  bool neon_dot = false;
};

// The words of x86's CPUID that name those sets (Intel's manual, volume 2A, CPUID).
struct Cpuid {
  std::uint32_t leaf1_ecx = 0;
  std::uint32_t leaf7_ebx = 0;
  std::uint32_t leaf7_ecx = 0;
  std::uint32_t leaf7_edx = 0;
  std::uint32_t leaf7_1_eax = 0;
};

// `xcr0`: the register states that the system saves; `tiles_permitted`: whether it lets this process use AMX's tiles,
// which Linux has to be asked for.
Features features_of(const Cpuid& cpuid, std::uint64_t xcr0, bool tiles_permitted);

// Of the processor that this runs on. Asks Linux for the use of AMX's tiles where there are any.
const Features& detected_features();

}  // namespace pyperf
