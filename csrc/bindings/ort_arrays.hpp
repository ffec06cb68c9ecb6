// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.hpp"
#include "core/error.hpp"
#include "ort/tensor.hpp"

// How Python's arrays go into a binding and come out of it, the same for the host's and a GPU's.
namespace pyperf::bindings {

template <class Binding>
void bind_input_array(Binding& binding, const std::string& name, const py::array& array) {
  if ((array.flags() & py::array::c_style) == 0) {
    throw InputError("the array for input '" + name +
                     "' is not contiguous in row-major order (numpy.ascontiguousarray)");
  }
  const std::vector<std::int64_t> shape(array.shape(), array.shape() + array.ndim());
  const auto bytes = static_cast<std::size_t>(array.nbytes());
  const void* data = array.data();
  const py::gil_scoped_release release;
  binding.bind_input(name, data, bytes, shape);
}

// Name, element type, shape, and a copy of the bytes: NumPy itself has no bfloat16.
using OutputArray = std::tuple<std::string, std::string, std::vector<std::int64_t>, py::bytes>;

template <class Binding>
std::vector<OutputArray> output_arrays(Binding& binding) {
  std::vector<ort::OutputView> views;
  {
    const py::gil_scoped_release release;
    views = binding.outputs();
  }
  std::vector<OutputArray> list;
  for (const auto& view : views) {
    list.emplace_back(view.name, ort::name_of(view.element_type), view.shape,
                      py::bytes(static_cast<const char*>(view.data), view.bytes));
  }
  return list;
}

}  // namespace pyperf::bindings
