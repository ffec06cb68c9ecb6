// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ort/api.hpp"

namespace pyperf::ort {

// A handle of the library that is released when this goes; each kind has a release function of its own.
template <class Handle>
class Owned {
 public:
  Owned(const Api& api, Slot release) : api_(api), release_(release) {}
  ~Owned() {
    if (handle_ != nullptr) api_.release(release_, handle_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  Handle* get() const { return handle_; }
  Handle** out() { return &handle_; }  // for a function that makes the handle

 private:
  const Api& api_;
  Slot release_;
  Handle* handle_ = nullptr;
};

}  // namespace pyperf::ort
