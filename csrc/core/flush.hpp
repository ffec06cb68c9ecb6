// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace pyperf {

// Whatever empties the processor's caches between two calls.
class Flush {
 public:
  virtual ~Flush() = default;
  virtual void flush() = 0;
};

}  // namespace pyperf
