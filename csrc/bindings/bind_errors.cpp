// SPDX-License-Identifier: Apache-2.0
#include "bindings/bindings.hpp"
#include "core/error.hpp"

namespace pyperf::bindings {
namespace {

void raise(const char* class_name, const char* message) {
  const auto errors = py::module_::import("pyperf_infer.errors");
  py::set_error(errors.attr(class_name), message);
}

}  // namespace

void bind_errors(py::module_&) {
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const UsageError& error) {
      raise("UsageError", error.what());
    } catch (const InputError& error) {
      raise("InputError", error.what());
    } catch (const BackendError& error) {
      raise("BackendError", error.what());
    } catch (const OutOfMemoryError& error) {
      raise("OutOfMemoryError", error.what());
    } catch (const MeasurementError& error) {
      raise("MeasurementError", error.what());
    } catch (const Error& error) {
      raise("PyperfInferError", error.what());
    } catch (const std::length_error&) {  // more elements than an address can count
      raise("OutOfMemoryError", "no memory left");
    } catch (const std::bad_alloc&) {
      raise("OutOfMemoryError", "no memory left");
    }
  });
}

}  // namespace pyperf::bindings
