// SPDX-License-Identifier: Apache-2.0
#include <pybind11/stl.h>

#include "bindings/bindings.hpp"
#include "bindings/callable.hpp"
#include "bindings/modes.hpp"
#include "core/spin.hpp"

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

class SpinTarget final : public Target {
 public:
  explicit SpinTarget(std::int64_t iterations) : spin_(iterations) {}
  Runner& runner() override { return runner_; }

 private:
  Spin spin_;
  LoopOver<Spin> runner_{spin_};
};

std::int64_t checked(std::int64_t iterations) {
  if (iterations < 0) throw UsageError("the number of steps is negative");
  return iterations;
}

// A Python callable whose work is done when it returns.
class HostCall {
 public:
  static constexpr bool kNeedsPython = true;
  using BatchScope = GilScope;

  explicit HostCall(TargetFunction function) : callable_(std::move(function)) {}
  void submit() { callable_.call(); }
  void wait() {}
  void settle() { callable_.forget(); }

 private:
  Callable callable_;
};

class CallableTarget final : public Target {
 public:
  explicit CallableTarget(TargetFunction function) : call_(std::move(function)) {}
  Runner& runner() override { return runner_; }

 private:
  HostCall call_;
  LoopOver<HostCall> runner_{call_};
};

}  // namespace

void bind_targets(py::module_& module) {
  py::class_<Target, std::shared_ptr<Target>>(module, "Target")
      .def_property_readonly("needs_python", [](Target& target) { return target.runner().needs_python(); })
      .def(
          "quantities",
          [](Target& target, const std::string& mode) {
            std::vector<std::string> names;
            for (const auto quantity : target.runner().quantities(mode_named(mode)))
              names.emplace_back(name_of(quantity));
            return names;
          },
          py::arg("mode"));
  py::class_<NoopTarget, Target, std::shared_ptr<NoopTarget>>(module, "NoopTarget").def(py::init<>());
  py::class_<SpinTarget, Target, std::shared_ptr<SpinTarget>>(module, "SpinTarget")
      .def(py::init([](std::int64_t iterations) { return std::make_shared<SpinTarget>(checked(iterations)); }),
           py::arg("iterations"));
  // The same work as a function, for the timers of others.
  module.def("spin", [](std::int64_t iterations) { Spin(checked(iterations)).submit(); }, py::arg("iterations"));
  py::class_<CallableTarget, Target, std::shared_ptr<CallableTarget>>(module, "CallableTarget")
      .def(py::init<TargetFunction>(), py::arg("function"));
}

}  // namespace pyperf::bindings
