// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace pyperf::ort {

// Position in ONNXTensorElementDataType, which is that of onnx.TensorProto.DataType.
using ElementType = int;

constexpr ElementType kString = 8;

// As NumPy (and ml_dtypes for bfloat16) names them; "string", "complex64", "type 23" for those that cannot be bound.
std::string name_of(ElementType type);

// 0 for a type that cannot be bound.
std::size_t size_of(ElementType type);

}  // namespace pyperf::ort
