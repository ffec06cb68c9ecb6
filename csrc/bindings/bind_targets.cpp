// SPDX-License-Identifier: Apache-2.0
#include "bindings/bindings.hpp"

namespace pyperf::bindings {
namespace {

// Nothing at all: what the loop itself costs.
struct Noop {
  static constexpr bool kNeedsPython = false;
  void submit() { asm volatile("" ::: "memory"); }  // the loop must not be optimised away
  void wait() {}
  void settle() {}
};

class NoopTarget final : public Target {
 public:
  Runner& runner() override { return runner_; }

 private:
  Noop noop_;
  LoopOver<Noop> runner_{noop_};
};

// A Python callable without arguments. The result is kept until the window has closed: freeing a large tensor is no
// part of the work.
class Callable {
 public:
  static constexpr bool kNeedsPython = true;

  // Taken once a batch, not once a call.
  class BatchScope {
   public:
    explicit BatchScope(Callable&) {}

   private:
    py::gil_scoped_acquire gil_;
  };

  explicit Callable(TargetFunction function) : function_(std::move(function)) {}

  void submit() {
    result_ = PyObject_Vectorcall(function_.ptr(), nullptr, 0, nullptr);
    if (result_ == nullptr) [[unlikely]]
      throw py::error_already_set();
  }
  void wait() {}
  void settle() { Py_CLEAR(result_); }

 private:
  TargetFunction function_;
  PyObject* result_ = nullptr;
};

class CallableTarget final : public Target {
 public:
  explicit CallableTarget(TargetFunction function) : callable_(checked(std::move(function))) {}
  Runner& runner() override { return runner_; }

 private:
  static TargetFunction checked(TargetFunction function) {
    if (PyCallable_Check(function.ptr())) return function;
    throw py::type_error("a target is a callable without arguments, and this is a " +
                         py::str(py::type::of(function).attr("__name__")).cast<std::string>());
  }

  Callable callable_;
  LoopOver<Callable> runner_{callable_};
};

}  // namespace

void bind_targets(py::module_& module) {
  py::class_<Target, std::shared_ptr<Target>>(module, "Target")
      .def_property_readonly("needs_python", [](Target& target) { return target.runner().needs_python(); });
  py::class_<NoopTarget, Target, std::shared_ptr<NoopTarget>>(module, "NoopTarget").def(py::init<>());
  py::class_<CallableTarget, Target, std::shared_ptr<CallableTarget>>(module, "CallableTarget")
      .def(py::init<TargetFunction>(), py::arg("function"));
}

}  // namespace pyperf::bindings
