// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "gpu/stream.hpp"
#include "gpu/transfers.hpp"

namespace pyperf::gpu {

// An executable CUDA graph that somebody else has captured and keeps, such as torch's, launched on one stream.
class GraphWork {
 public:
  static constexpr bool kNeedsPython = false;

  GraphWork(CUgraphExec graph, StreamView stream, Transfers transfers)
      : graph_(graph), stream_(std::move(stream)), transfers_(std::move(transfers)) {}

  const StreamView& stream() const { return stream_; }
  void h2d() { transfers_.queue_inputs(stream_); }
  void submit() { PYPERF_CUDA(stream_.context(), cuGraphLaunch(graph_, stream_.handle())); }
  void d2h() { transfers_.queue_outputs(stream_); }
  void settle() {}

 private:
  CUgraphExec graph_;
  StreamView stream_;
  Transfers transfers_;
};

}  // namespace pyperf::gpu
