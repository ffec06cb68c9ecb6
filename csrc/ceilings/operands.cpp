// SPDX-License-Identifier: Apache-2.0
#include "ceilings/operands.hpp"

#include <cstring>
#include <random>

namespace pyperf {
namespace {

using Random = std::mt19937_64;

// Sign, mantissa and one of the exponents of [0.5, 1) and [1, 2) at random, of a format with `mantissa_bits` and
// `exponent_bits`.
std::uint64_t random_float(Random& random, int mantissa_bits, int exponent_bits) {
  const std::uint64_t bits = random();
  const std::uint64_t bias = (std::uint64_t{1} << (exponent_bits - 1)) - 1;
  const std::uint64_t mantissa = bits & ((std::uint64_t{1} << mantissa_bits) - 1);
  const std::uint64_t exponent = bias - (bits >> 62U & 1U);
  const std::uint64_t sign = bits >> 63U;
  return sign << (mantissa_bits + exponent_bits) | exponent << mantissa_bits | mantissa;
}

template <class Word, class Draw>
void fill(std::byte* bytes, std::size_t size, Draw draw) {
  for (std::size_t at = 0; at < size; at += sizeof(Word)) {
    const Word word = static_cast<Word>(draw());
    std::memcpy(bytes + at, &word, sizeof word);
  }
}

// z = -y: the sign bit of each element flipped.
template <class Word>
void negate_floats(Operands& operands) {
  constexpr Word kSign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
  for (std::size_t at = 0; at < Operands::kBytes; at += sizeof(Word)) {
    Word word;
    std::memcpy(&word, operands.y + at, sizeof word);
    word = static_cast<Word>(word ^ kSign);
    std::memcpy(operands.z + at, &word, sizeof word);
  }
}

template <class Word>
void fill_floats(Operands& operands, Random& random, int mantissa_bits, int exponent_bits) {
  const auto draw = [&] { return random_float(random, mantissa_bits, exponent_bits); };
  fill<Word>(operands.x, Operands::kBytes, draw);
  fill<Word>(operands.y, Operands::kBytes, draw);
  negate_floats<Word>(operands);
}

void fill_int8(Operands& operands, Random& random) {
  const auto draw = [&] { return 1 + random() % 127; };
  fill<std::uint8_t>(operands.x, Operands::kBytes, draw);
  for (std::size_t at = 0; at < Operands::kBytes; ++at) {
    const int value = static_cast<int>(draw()) * ((random() & 1U) != 0 ? 1 : -1);
    operands.y[at] = static_cast<std::byte>(value);
    operands.z[at] = static_cast<std::byte>(-value);
  }
}

}  // namespace

const char* name_of(Precision precision) {
  switch (precision) {
    case Precision::kFloat64:
      return "float64";
    case Precision::kFloat32:
      return "float32";
    case Precision::kBfloat16:
      return "bfloat16";
    case Precision::kFloat16:
      return "float16";
    case Precision::kInt8:
      break;
  }
  return "int8";
}

Operands random_operands(Precision precision, std::uint64_t seed) {
  Random random(seed);
  Operands made;
  switch (precision) {
    case Precision::kFloat64:
      fill_floats<std::uint64_t>(made, random, 52, 11);
      break;
    case Precision::kFloat32:
      fill_floats<std::uint32_t>(made, random, 23, 8);
      break;
    case Precision::kBfloat16:
      fill_floats<std::uint16_t>(made, random, 7, 8);
      break;
    case Precision::kFloat16:
      fill_floats<std::uint16_t>(made, random, 10, 5);
      break;
    case Precision::kInt8:
      fill_int8(made, random);
      break;
  }
  return made;
}

Accumulators random_accumulators(Precision precision, std::uint64_t seed) {
  Random random(seed);
  Accumulators made;
  switch (precision) {
    case Precision::kFloat64:
      fill<std::uint64_t>(made.bytes, Accumulators::kBytes, [&] { return random_float(random, 52, 11); });
      break;
    case Precision::kFloat16:
      fill<std::uint16_t>(made.bytes, Accumulators::kBytes, [&] { return random_float(random, 10, 5); });
      break;
    case Precision::kInt8:
      fill<std::uint32_t>(made.bytes, Accumulators::kBytes, [&] { return random() & 0xffffU; });
      break;
    default:  // bfloat16 is summed in float32
      fill<std::uint32_t>(made.bytes, Accumulators::kBytes, [&] { return random_float(random, 23, 8); });
      break;
  }
  return made;
}

}  // namespace pyperf
