// SPDX-License-Identifier: Apache-2.0
#include "ceilings/compute_kernel.hpp"
#include "ceilings/features.hpp"
#include "ceilings/stream_kernel.hpp"
#include "check.hpp"

namespace pyperf::test {
namespace {

constexpr std::uint64_t kAllStates = 0x6'00e6;

// Every bit that is looked at.
Cpuid everything() {
  Cpuid cpuid;
  cpuid.leaf1_ecx = 1U << 12U | 1U << 27U | 1U << 28U;
  cpuid.leaf7_ebx = 1U << 5U | 1U << 16U;
  cpuid.leaf7_ecx = 1U << 11U;
  cpuid.leaf7_edx = 1U << 22U | 1U << 23U | 1U << 24U | 1U << 25U;
  cpuid.leaf7_1_eax = 1U << 4U | 1U << 5U;
  return cpuid;
}

bool has(const Features& features, Precision precision, std::string_view instructions) {
  for (const auto& kernel : compute_kernels(features, precision)) {
    if (kernel.instructions == instructions) return true;
  }
  return false;
}

}  // namespace

TEST(ceilings_features, all_sets_are_there_where_cpu_and_system_have_them) {
  const Features found = features_of(everything(), kAllStates, true);
  CHECK(found.avx2_fma && found.avx512f && found.avx512_bf16 && found.avx512_fp16 && found.avx512_vnni);
  CHECK(found.avx_vnni && found.amx_bf16 && found.amx_int8);
  CHECK(!found.neon);
}

TEST(ceilings_features, no_vectors_where_the_system_does_not_keep_their_registers) {
  const Features none = features_of(everything(), 0x2, true);
  CHECK(!none.avx2_fma && !none.avx512f && !none.avx_vnni && !none.avx512_vnni);
  const Features narrow = features_of(everything(), 0x6, true);
  CHECK(narrow.avx2_fma && narrow.avx_vnni);
  CHECK(!narrow.avx512f && !narrow.avx512_bf16 && !narrow.avx512_fp16 && !narrow.avx512_vnni && !narrow.amx_int8);
}

TEST(ceilings_features, no_tiles_without_their_state_or_the_systems_permission) {
  const Features refused = features_of(everything(), kAllStates, false);
  CHECK(!refused.amx_bf16 && !refused.amx_int8 && refused.avx512f);
  const Features unsaved = features_of(everything(), 0xe6, true);
  CHECK(!unsaved.amx_bf16 && !unsaved.amx_int8);
}

TEST(ceilings_features, multiply_adds_need_their_own_bit_beside_avx2) {
  Cpuid cpuid = everything();
  cpuid.leaf1_ecx &= ~(1U << 12U);
  CHECK(!features_of(cpuid, kAllStates, true).avx2_fma);
}

TEST(ceilings_features, kernels_are_those_of_the_sets_that_are_there) {
  const Features none;
  CHECK(has(none, Precision::kFloat32, "portable"));
  CHECK(has(none, Precision::kFloat64, "portable"));
  CHECK(compute_kernels(none, Precision::kBfloat16).empty());
  CHECK(compute_kernels(none, Precision::kInt8).empty());
  CHECK_EQUAL(stream_kernels(none).instructions, "portable");
#if defined(__x86_64__)
  Features avx2;
  avx2.avx2_fma = true;
  CHECK(has(avx2, Precision::kFloat32, "avx2 fma") && !has(avx2, Precision::kFloat32, "avx512 fma"));
  CHECK(!has(avx2, Precision::kFloat32, "portable"));
  CHECK(compute_kernels(avx2, Precision::kInt8).empty());
  CHECK_EQUAL(stream_kernels(avx2).instructions, "avx2");
  const Features all = features_of(everything(), kAllStates, true);
  CHECK(has(all, Precision::kFloat64, "avx512 fma") && has(all, Precision::kFloat64, "avx2 fma"));
  CHECK(has(all, Precision::kBfloat16, "amx bf16") && has(all, Precision::kBfloat16, "avx512 bf16"));
  CHECK(has(all, Precision::kInt8, "amx int8") && has(all, Precision::kInt8, "avx512 vnni"));
  CHECK(has(all, Precision::kInt8, "avx vnni"));
  CHECK_EQUAL(stream_kernels(all).instructions, "avx512");
#elif defined(__aarch64__)
  Features neon;
  neon.neon = true;
  CHECK(has(neon, Precision::kFloat32, "neon fma") && has(neon, Precision::kFloat64, "neon fma"));
  CHECK(compute_kernels(neon, Precision::kFloat16).empty());
  CHECK_EQUAL(stream_kernels(neon).instructions, "neon");
#endif
}

TEST(ceilings_features, this_processor_runs_something) {
  CHECK(!compute_kernels(detected_features(), Precision::kFloat32).empty());
  CHECK(!compute_kernels(detected_features(), Precision::kFloat64).empty());
}

}  // namespace pyperf::test
