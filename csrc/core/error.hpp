// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>

// Typed exceptions of the native code. bindings/ maps each to the class of the same meaning in pyperf_infer.errors;
// nothing in csrc/ ever ends the process.
namespace pyperf {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The call itself is off: a plan that contradicts itself, an option nobody knows.
struct UsageError : Error {
  using Error::Error;
};

// A model, a shape or an array that cannot be used.
struct InputError : Error {
  using Error::Error;
};

// A library, provider or device that is not there or does not load.
struct BackendError : Error {
  using Error::Error;
};

// The work was started and failed.
struct MeasurementError : Error {
  using Error::Error;
};

// The work does not fit in the memory there is.
struct OutOfMemoryError : MeasurementError {
  using MeasurementError::MeasurementError;
};

}  // namespace pyperf
