// SPDX-License-Identifier: Apache-2.0
#include "ort/element_type.hpp"

#include <array>

namespace pyperf::ort {
namespace {

struct Row {
  const char* name;
  std::size_t size;
};

constexpr std::array<Row, 17> kRows{{{"undefined", 0},
                                     {"float32", 4},
                                     {"uint8", 1},
                                     {"int8", 1},
                                     {"uint16", 2},
                                     {"int16", 2},
                                     {"int32", 4},
                                     {"int64", 8},
                                     {"string", 0},
                                     {"bool", 1},
                                     {"float16", 2},
                                     {"float64", 8},
                                     {"uint32", 4},
                                     {"uint64", 8},
                                     {"complex64", 0},
                                     {"complex128", 0},
                                     {"bfloat16", 2}}};

}  // namespace

std::string name_of(ElementType type) {
  if (type >= 0 && static_cast<std::size_t>(type) < kRows.size()) return kRows[static_cast<std::size_t>(type)].name;
  return "type " + std::to_string(type);
}

std::size_t size_of(ElementType type) {
  if (type >= 0 && static_cast<std::size_t>(type) < kRows.size()) return kRows[static_cast<std::size_t>(type)].size;
  return 0;
}

}  // namespace pyperf::ort
