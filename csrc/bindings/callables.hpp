// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <pybind11/pybind11.h>

// Python objects that differ from py::object only in the type that the stub file names. They are checked where they
// are used, with a message of our own, rather than by pybind11's "incompatible function arguments".
namespace pyperf::bindings {

inline bool any_object(PyObject*) { return true; }

class TargetFunction : public pybind11::object {
  PYBIND11_OBJECT_DEFAULT(TargetFunction, object, any_object)
};

// Called with the phase ("warm-up", "measure", "interleave"), the calls done (rounds when interleaving), elapsed
// nanoseconds, the budget in nanoseconds, and the latest sample in nanoseconds.
class ProgressFunction : public pybind11::object {
  PYBIND11_OBJECT_DEFAULT(ProgressFunction, object, any_object)
};

}  // namespace pyperf::bindings

template <>
struct pybind11::detail::handle_type_name<pyperf::bindings::TargetFunction> {
  static constexpr auto name = const_name("collections.abc.Callable[[], object]");
};

template <>
struct pybind11::detail::handle_type_name<pyperf::bindings::ProgressFunction> {
  static constexpr auto name = const_name("collections.abc.Callable[[str, int, int, int, int], object] | None");
};
