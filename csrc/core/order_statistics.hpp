// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace pyperf {

// Ranks (from 1) of the two order statistics between which the quantile lies with the given confidence.
struct RankInterval {
  std::int64_t lower;
  std::int64_t upper;
};

// The distribution-free interval of a quantile from n independent samples: the largest l with P(X < l) <= a/2 and the
// smallest u with P(X >= u) <= a/2, X binomial(n, quantile), a = 1 - confidence. Nothing where n is too small for both
// to exist (two-sided at 95%: the median needs 6, p90 36, p95 72, p99 368).
// Source: W. J. Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.
//
// `dependence` (at least 1, see dependence_at) widens the interval for samples that are not independent: it is that of
// n / dependence samples, at the same places among the n.
std::optional<RankInterval> quantile_ranks(std::int64_t n, double quantile, double confidence, double dependence = 1.0);

// Rank (from 1) of the sample quantile, the inverse of the empirical distribution: ceil(n * quantile), at least 1.
std::int64_t quantile_rank(std::int64_t n, double quantile);

struct QuantileEstimate {
  double value;
  double lower;
  double upper;
};

// Reorders `scratch`. Nothing where the interval does not exist.
template <class Value>
std::optional<QuantileEstimate> estimate_quantile(std::vector<Value>& scratch, double quantile, double confidence,
                                                  double dependence = 1.0);

extern template std::optional<QuantileEstimate> estimate_quantile(std::vector<std::int64_t>&, double, double, double);
extern template std::optional<QuantileEstimate> estimate_quantile(std::vector<double>&, double, double, double);

// How many times less the samples say about their quantile `value` than independent ones would: the variance of the
// means of overlapping blocks of the indicator (sample <= value), times the block's length, over the indicator's own
// variance. Blocks are doubled until they are as long as the error of that estimate is least for, length^3 = 2 n
// ratio^2, and widened by Student's t, since the variance is itself estimated from few blocks; what neighbours show is
// not, as it is known better. 1 where the ratio is no
// larger than 99% of what independent samples give, and neighbours do not show more, so that intervals of independent
// samples are not widened by chance. Levels that change every hundred samples are not seen in a few hundred.
// Source: overlapping batch means, C. Alexopoulos and D. Goldsman, "To batch or not to batch?", ACM TOMACS 14 (2004),
// applied to the indicator as in P. Heidelberger and P. A. W. Lewis, "Quantile estimation in dependent sequences",
// Operations Research 32 (1984); length of the blocks: H. Flyvbjerg and H. G. Petersen, "Error estimates on averages of
// correlated data", J. Chem. Phys. 91 (1989), and R. M. Lee et al., Phys. Rev. E 83 (2011).
double dependence_at(std::span<const std::int64_t> samples, std::int64_t value);

}  // namespace pyperf
