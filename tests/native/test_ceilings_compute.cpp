// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <vector>

#include "ceilings/compute_kernel.hpp"
#include "check.hpp"

namespace pyperf::test {
namespace {

constexpr Precision kPrecisions[] = {Precision::kFloat64, Precision::kFloat32, Precision::kBfloat16,
                                     Precision::kFloat16, Precision::kInt8};

template <class Number>
Number read(const std::byte* bytes, std::size_t index) {
  Number value;
  std::memcpy(&value, bytes + index * sizeof value, sizeof value);
  return value;
}

template <class Number>
void write(std::byte* bytes, std::size_t index, Number value) {
  std::memcpy(bytes + index * sizeof value, &value, sizeof value);
}

std::uint16_t half_of(int value) {
  if (value == 0) return 0;
  int exponent = 0;
  const double fraction = std::frexp(std::abs(value), &exponent);  // 0.5 to 1
  const int mantissa = static_cast<int>(std::ldexp(fraction, 11)) - 1024;
  return static_cast<std::uint16_t>((value < 0 ? 0x8000 : 0) | (exponent + 14) << 10 | mantissa);
}

double from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double mantissa = bits & 1023;
  if (exponent == 31) return mantissa == 0 ? INFINITY : NAN;
  const double size = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

std::uint16_t bfloat_of(int value) {
  const auto number = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &number, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16);
}

std::size_t operand_bytes(Precision precision) {
  switch (precision) {
    case Precision::kFloat64:
      return 8;
    case Precision::kFloat32:
      return 4;
    case Precision::kInt8:
      return 1;
    default:
      return 2;
  }
}

std::size_t sum_bytes(Precision precision) {
  return precision == Precision::kFloat64 ? 8 : precision == Precision::kFloat16 ? 2 : 4;
}

void set_operand(Precision precision, std::byte* bytes, std::size_t index, int value) {
  switch (precision) {
    case Precision::kFloat64:
      return write<double>(bytes, index, value);
    case Precision::kFloat32:
      return write<float>(bytes, index, static_cast<float>(value));
    case Precision::kBfloat16:
      return write<std::uint16_t>(bytes, index, bfloat_of(value));
    case Precision::kFloat16:
      return write<std::uint16_t>(bytes, index, half_of(value));
    case Precision::kInt8:
      return write<std::int8_t>(bytes, index, static_cast<std::int8_t>(value));
  }
}

double sum_at(Precision precision, const Accumulators& sums, std::size_t index) {
  switch (precision) {
    case Precision::kFloat64:
      return read<double>(sums.bytes, index);
    case Precision::kFloat16:
      return from_half(read<std::uint16_t>(sums.bytes, index));
    case Precision::kInt8:
      return read<std::int32_t>(sums.bytes, index);
    default:
      return read<float>(sums.bytes, index);
  }
}

void set_sum(Precision precision, Accumulators& sums, std::size_t index, int value) {
  if (precision == Precision::kInt8) return write<std::int32_t>(sums.bytes, index, value);
  if (precision == Precision::kBfloat16) return write<float>(sums.bytes, index, static_cast<float>(value));
  set_operand(precision, sums.bytes, index, value);
}

// Small integers, so that every sum is exact. What a repeat adds to any sum is above zero.
int x_at(std::size_t index) { return 1 + static_cast<int>(index % 3); }
int y_at(std::size_t index) { return (index % 2 == 0 ? 1 : -1) * (1 + static_cast<int>(index % 4)); }
int z_at(std::size_t index) { return 5 + static_cast<int>(index % 3); }
int start_at(std::size_t index) { return static_cast<int>(index % 11) - 5; }

Operands integers(Precision precision) {
  Operands made;
  for (std::size_t i = 0; i < Operands::kBytes / operand_bytes(precision); ++i) {
    set_operand(precision, made.x, i, x_at(i));
    set_operand(precision, made.y, i, y_at(i));
    set_operand(precision, made.z, i, z_at(i));
  }
  return made;
}

// The products that one sum gets of both steps of a repeat, as a scalar loop has them; `products` counts them.
int added(const ComputeKernel& kernel, std::size_t index, std::int64_t& products) {
  const std::string name(kernel.instructions);
  int sum = 0;
  const auto multiply = [&](std::size_t x, std::size_t y) {
    sum += x_at(x) * y_at(y) + x_at(x) * z_at(y);
    products += 2;
  };
  if (name.starts_with(
          "amx")) {  // 16 x 16 sums a tile; x has a row of 64 bytes for each, y a group of K for each column
    const std::size_t group = kernel.precision == Precision::kInt8 ? 4 : 2;
    const std::size_t row = index / 16 % 16;
    const std::size_t column = index % 16;
    for (std::size_t k = 0; k < 16; ++k) {
      for (std::size_t i = 0; i < group; ++i) {
        multiply(row * 16 * group + k * group + i, k * 16 * group + column * group + i);
      }
    }
  } else if (name == "neon bfmmla") {  // 2 x 2 sums of two rows of four each
    for (std::size_t i = 0; i < 4; ++i) multiply(index / 2 % 2 * 4 + i, index % 2 * 4 + i);
  } else {
    const std::size_t width = name.starts_with("avx512") ? 64 : name.starts_with("avx") ? 32 : 16;
    const std::size_t lanes = width / sum_bytes(kernel.precision);
    const std::size_t group = sum_bytes(kernel.precision) / operand_bytes(kernel.precision);
    for (std::size_t i = 0; i < group; ++i) multiply(index % lanes * group + i, index % lanes * group + i);
  }
  return sum;
}

std::vector<ComputeKernel> every_kernel() {
  std::vector<ComputeKernel> all;
  for (const auto precision : kPrecisions) {
    for (const auto& kernel : compute_kernels(detected_features(), precision)) all.push_back(kernel);
    for (const auto& kernel : compute_kernels(Features{}, precision)) all.push_back(kernel);  // portable
  }
  return all;
}

void check_kernel(const ComputeKernel& kernel, bool with_chain) {
  const Operands operands = integers(kernel.precision);
  const std::size_t room = Accumulators::kBytes / sum_bytes(kernel.precision);
  Accumulators sums;
  for (std::size_t i = 0; i < room; ++i) set_sum(kernel.precision, sums, i, start_at(i));
  constexpr std::int64_t kRepeats = 3;
  const std::uint64_t chain = (with_chain ? kernel.run_with_chain : kernel.run)(operands, sums, kRepeats);
  const auto wanted = static_cast<std::uint64_t>(kRepeats * kernel.chain_per_repeat) * operands.step;
  CHECK_EQUAL(chain, with_chain ? wanted : 0);
  std::size_t changed = 0;
  std::int64_t products = 0;
  while (changed < room && sum_at(kernel.precision, sums, changed) != start_at(changed)) {
    const int each = added(kernel, changed, products);
    if (sum_at(kernel.precision, sums, changed) != start_at(changed) + static_cast<int>(kRepeats) * each) {
      return fail(__FILE__, __LINE__, std::string(kernel.instructions) + " sums " + std::to_string(changed));
    }
    ++changed;
  }
  CHECK_EQUAL(2 * products, kernel.flops_per_repeat);
  for (std::size_t i = changed; i < room; ++i) {
    if (sum_at(kernel.precision, sums, i) != start_at(i)) return fail(__FILE__, __LINE__, "a sum behind the last");
  }
}

// Of one repeat on the fastest core that there is: a product of tiles every 16 cycles (Intel's optimisation manual),
// vectors of 32 and 64 bytes two a cycle, narrower ones four.
std::int64_t fewest_cycles(const ComputeKernel& kernel) {
  const std::string name(kernel.instructions);
  if (name.starts_with("amx")) {
    const std::int64_t depth = kernel.precision == Precision::kInt8 ? 64 : 32;
    return kernel.flops_per_repeat / (2 * 16 * 16 * depth) * 16;
  }
  const std::int64_t width = name.starts_with("avx512") ? 64 : name.starts_with("avx") ? 32 : 16;
  const auto bytes = static_cast<std::int64_t>(operand_bytes(kernel.precision));
  const std::int64_t products = name == "neon bfmmla" ? 16 : width / bytes;
  return kernel.flops_per_repeat / (2 * products) / (width == 16 ? 4 : 2);
}

}  // namespace

TEST(ceilings_compute, every_kernel_adds_the_products_of_a_scalar_loop_and_counts_each) {
  for (const auto& kernel : every_kernel()) check_kernel(kernel, false);
}

TEST(ceilings_compute, with_a_chain_the_products_are_the_same_and_the_chain_has_every_addition) {
  for (const auto& kernel : every_kernel()) check_kernel(kernel, true);
}

TEST(ceilings_compute, without_repeats_nothing_changes) {
  for (const auto& kernel : every_kernel()) {
    Accumulators sums = random_accumulators(kernel.precision, 1);
    const Accumulators before = sums;
    kernel.run(random_operands(kernel.precision, 1), sums, 0);
    CHECK(std::memcmp(&sums, &before, sizeof sums) == 0);
  }
}

TEST(ceilings_compute, chains_are_longer_than_the_multiply_adds_beside_them) {
  for (const auto& kernel : every_kernel()) {
    const std::int64_t cycles = fewest_cycles(kernel);
    CHECK(cycles >= 1);
    CHECK(kernel.chain_per_repeat >= 2 * cycles);
  }
}

TEST(ceilings_compute, random_numbers_stay_normal_ones_however_long_a_kernel_runs) {
  for (const auto& kernel : every_kernel()) {
    const Operands operands = random_operands(kernel.precision, 7);
    Accumulators sums = random_accumulators(kernel.precision, 7);
    for (int call = 0; call < 20; ++call) kernel.run(operands, sums, 50);
    const double most = kernel.precision == Precision::kInt8 ? 1e6 : 200;
    const double least = kernel.precision == Precision::kFloat16 ? 6.2e-5 : 1e-30;
    for (std::size_t i = 0; i < 64; ++i) {
      const double value = std::abs(sum_at(kernel.precision, sums, i));
      CHECK(value <= most);
      CHECK(value == 0 || value >= least);
    }
  }
}

TEST(ceilings_compute, operands_are_never_zero_and_z_takes_away_what_y_adds) {
  for (const auto precision : kPrecisions) {
    const Operands operands = random_operands(precision, 3);
    const std::size_t bytes = operand_bytes(precision);
    for (std::size_t i = 0; i < Operands::kBytes / bytes; ++i) {
      if (precision == Precision::kInt8) {
        CHECK(read<std::int8_t>(operands.x, i) > 0);
        CHECK(read<std::int8_t>(operands.y, i) != 0);
        CHECK_EQUAL(read<std::int8_t>(operands.y, i), -read<std::int8_t>(operands.z, i));
        continue;
      }
      // The last byte has the sign and the first bits of the exponent.
      const auto y = std::to_integer<unsigned>(operands.y[(i + 1) * bytes - 1]);
      const auto z = std::to_integer<unsigned>(operands.z[(i + 1) * bytes - 1]);
      CHECK_EQUAL(y ^ z, 0x80U);
      CHECK((y & 0x7fU) != 0);
    }
  }
}

}  // namespace pyperf::test
