// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "gpu/context.hpp"

namespace pyperf::gpu {

// A stream that somebody else owns, and keeps for as long as this is used.
class StreamView {
 public:
  StreamView(std::shared_ptr<Context> context, CUstream stream) : context_(std::move(context)), stream_(stream) {}
  StreamView(std::shared_ptr<Context>, std::nullptr_t) = delete;  // the default stream is an explicit handle of its own

  Context& context() const { return *context_; }
  const std::shared_ptr<Context>& shared_context() const { return context_; }
  CUstream handle() const { return stream_; }

 private:
  std::shared_ptr<Context> context_;
  CUstream stream_;
};

// A stream of our own, that does not wait for the default one.
class OwnedStream {
 public:
  explicit OwnedStream(std::shared_ptr<Context> context) : view_(make(std::move(context))) {}
  ~OwnedStream() {
    view_.context().release([this](const Driver& driver) { driver.cuStreamDestroy(view_.handle()); });
  }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;

  const StreamView& view() const { return view_; }

 private:
  static StreamView make(std::shared_ptr<Context> context) {
    const Context::Current current(*context);
    CUstream stream = nullptr;
    PYPERF_CUDA(*context, cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    return {std::move(context), stream};
  }

  StreamView view_;
};

}  // namespace pyperf::gpu
