// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace pyperf {

// A loop that stops at the first narrow interval stops where it is narrow by chance: between two modes, where it misses
// the gap. An interval at a fraction of the error rate has to be narrow in proportion too, as it is wherever the
// density is smooth; in a gap it is not.
struct Guard {
  double confidence;
  double width_ratio;  // of its width to the one of the interval that it guards, for normal samples
};

// At one `part`-th of the error rate.
Guard guard_of(double confidence, double part);

}  // namespace pyperf
