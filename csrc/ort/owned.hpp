// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "ort/api.hpp"

namespace pyperf::ort {

// A handle of the library that is released when this goes; each kind has a release function of its own.
template <class Handle>
class Owned {
 public:
  Owned(const Api& api, Slot release, Handle* handle = nullptr) : api_(&api), release_(release), handle_(handle) {}
  ~Owned() {
    if (handle_ != nullptr) api_->release(release_, handle_);
  }
  Owned(Owned&& other) noexcept
      : api_(other.api_), release_(other.release_), handle_(std::exchange(other.handle_, nullptr)) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Owned& operator=(Owned&&) = delete;

  Handle* get() const { return handle_; }
  Handle** out() { return &handle_; }  // for a function that makes the handle

  // From now on nobody releases it.
  void abandon() { handle_ = nullptr; }

 private:
  const Api* api_;
  Slot release_;
  Handle* handle_;
};

}  // namespace pyperf::ort
