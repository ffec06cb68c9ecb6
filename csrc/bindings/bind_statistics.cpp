// SPDX-License-Identifier: Apache-2.0
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "bindings/bindings.hpp"
#include "core/order_statistics.hpp"

namespace pyperf::bindings {
namespace {

using Nanoseconds = py::array_t<std::int64_t, py::array::c_style>;

std::span<const std::int64_t> view(const Nanoseconds& samples) {
  return {samples.data(), static_cast<std::size_t>(samples.size())};
}

}  // namespace

void bind_statistics(py::module_& module) {
  module.def(
      "quantile_ranks",
      [](std::int64_t n, double quantile, double confidence,
         double dependence) -> std::optional<std::pair<std::int64_t, std::int64_t>> {
        const auto ranks = quantile_ranks(n, quantile, confidence, dependence);
        if (!ranks) return std::nullopt;
        return std::pair(ranks->lower, ranks->upper);
      },
      py::arg("n"), py::arg("quantile"), py::arg("confidence"), py::arg("dependence") = 1.0);
  module.def("quantile_rank", &quantile_rank, py::arg("n"), py::arg("quantile"));
  module.def(
      "dependence_at",
      [](const Nanoseconds& samples, std::int64_t value) { return dependence_at(view(samples), value); },
      py::arg("samples_ns"), py::arg("value_ns"));
  module.def(
      "estimate_quantile",
      [](std::vector<double> values, double quantile, double confidence,
         double dependence) -> std::optional<std::tuple<double, double, double>> {
        // Selection walks off the end of what has no order.
        if (std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); })) {
          throw UsageError("NaN among the values: it has no place in an order");
        }
        const auto estimate = estimate_quantile(values, quantile, confidence, dependence);
        if (!estimate) return std::nullopt;
        return std::tuple(estimate->value, estimate->lower, estimate->upper);
      },
      py::arg("values"), py::arg("quantile"), py::arg("confidence"), py::arg("dependence") = 1.0);
}

}  // namespace pyperf::bindings
