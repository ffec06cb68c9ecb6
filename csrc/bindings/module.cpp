// SPDX-License-Identifier: Apache-2.0
#include "bindings/bindings.hpp"

PYBIND11_MODULE(_core, module) {
  using namespace pyperf::bindings;
  module.doc() =
      "Native core of pyperf_infer: clock, loop, stop rule, schedule, ceilings, GPU, ONNX Runtime, AOTInductor. Not a "
      "public API.";
  bind_errors(module);
  bind_clock(module);
  bind_activity(module);
  bind_statistics(module);
  bind_targets(module);
  bind_measure(module);
  bind_schedule(module);
  bind_ceilings(module);
  bind_gpu(module);
  bind_gpu_targets(module);
  bind_ort(module);
  bind_ort_gpu(module);
  bind_aoti(module);
}
