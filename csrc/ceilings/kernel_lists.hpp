// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "ceilings/compute_kernel.hpp"
#include "ceilings/stream_kernel.hpp"

// Each architecture's files give their kernels here; what an architecture has not got is empty there.
namespace pyperf {

std::span<const ComputeKernel> x86_vector_kernels();
std::span<const ComputeKernel> x86_narrow_kernels();
std::span<const ComputeKernel> x86_tile_kernels();
std::span<const ComputeKernel> neon_kernels();
std::span<const ComputeKernel> portable_kernels();

std::span<const StreamKernels> x86_streams();  // the widest first
std::span<const StreamKernels> neon_streams();
std::span<const StreamKernels> portable_streams();

}  // namespace pyperf

// Loops over accumulators have to be unrolled for these to be registers.
#if defined(__clang__)
#define PYPERF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PYPERF_UNROLL _Pragma("GCC unroll 32")
#endif
#define PYPERF_TARGET(features) __attribute__((target(features)))
