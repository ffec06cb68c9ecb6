// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include "bindings/bindings.hpp"

namespace pyperf::bindings {

// The GIL, for work that is Python: taken once a batch, not once a call.
class GilScope {
 public:
  template <class Work>
  explicit GilScope(Work&) {}

 private:
  py::gil_scoped_acquire gil_;
};

// Lets other Python threads run while the host waits for work that has been handed over.
class GilRelease {
 public:
  GilRelease() = default;

 private:
  py::gil_scoped_release release_;
};

// A Python callable without arguments. The result is kept until the window has closed: freeing a large tensor is no
// part of the work.
class Callable {
 public:
  explicit Callable(TargetFunction function) : function_(checked(std::move(function))) {}
  ~Callable() { forget(); }  // with the GIL, as everything that Python frees
  Callable(Callable&& other) noexcept
      : function_(std::move(other.function_)), result_(std::exchange(other.result_, nullptr)) {}
  Callable(const Callable&) = delete;
  Callable& operator=(const Callable&) = delete;
  Callable& operator=(Callable&&) = delete;

  void call() {
    result_ = PyObject_Vectorcall(function_.ptr(), nullptr, 0, nullptr);
    if (result_ == nullptr) [[unlikely]]
      throw py::error_already_set();
  }
  void forget() { Py_CLEAR(result_); }

 private:
  static TargetFunction checked(TargetFunction function) {
    if (PyCallable_Check(function.ptr())) return function;
    throw py::type_error("a target is a callable without arguments, and this is a " +
                         py::str(py::type::of(function).attr("__name__")).cast<std::string>());
  }

  TargetFunction function_;
  PyObject* result_ = nullptr;
};

}  // namespace pyperf::bindings
