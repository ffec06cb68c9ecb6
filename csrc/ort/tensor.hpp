// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ort/owned.hpp"
#include "ort/session.hpp"

namespace pyperf::ort {

// What is in a tensor that the library made.
struct TensorFacts {
  ElementType element_type = 0;
  std::vector<std::int64_t> shape;

  std::size_t bytes() const;
};

// A tensor that a run wrote, in memory of the host.
struct OutputView {
  std::string name;
  ElementType element_type;
  std::vector<std::int64_t> shape;
  const void* data;
  std::size_t bytes;
};

// Throws InputError where the model has no such input, with those it has.
const TensorInfo& find_input(const Session& session, const std::string& name);

// Throws InputError where the input cannot be bound, or the shape or the size do not fit it.
void check_fits(const TensorInfo& input, std::size_t bytes, const std::vector<std::int64_t>& shape);

// None for what is no tensor of elements of a fixed size.
std::optional<TensorFacts> describe(const Api& api, const OrtValue* value);

void* data_of(const Api& api, OrtValue* value);

// Whether that is memory of a GPU, rather than of the host (page-locked memory included).
bool is_device_memory(const Api& api, const OrtMemoryInfo* memory);
bool is_on_device(const Api& api, const OrtValue* value);

Owned<OrtMemoryInfo> host_memory(const Api& api);
Owned<OrtMemoryInfo> cuda_memory(const Api& api, int device);

// A tensor over memory that the caller keeps.
Owned<OrtValue> tensor_over(const Api& api, const OrtMemoryInfo* memory, void* data, std::size_t bytes,
                            const std::vector<std::int64_t>& shape, ElementType element_type);

}  // namespace pyperf::ort
