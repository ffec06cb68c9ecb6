// SPDX-License-Identifier: Apache-2.0
#include "core/quantity.hpp"

namespace pyperf {

const char* name_of(Mode mode) {
  switch (mode) {
    case Mode::kLatency:
      return "latency";
    case Mode::kThroughput:
      return "throughput";
    case Mode::kCold:
      return "cold";
  }
  return "unknown";
}

const char* name_of(Quantity quantity) {
  switch (quantity) {
    case Quantity::kLatency:
      return "latency";
    case Quantity::kPeriod:
      return "period";
    case Quantity::kSubmit:
      return "submit";
    case Quantity::kGpu:
      return "gpu";
    case Quantity::kH2d:
      return "h2d";
    case Quantity::kD2h:
      return "d2h";
  }
  return "unknown";
}

}  // namespace pyperf
