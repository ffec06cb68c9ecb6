// SPDX-License-Identifier: Apache-2.0
#include "aoti/dtype.hpp"

#include <array>

namespace pyperf::aoti {
namespace {

constexpr std::array<Dtype, 15> kDtypes{{{"bool", "aoti_torch_dtype_bool", 1},
                                         {"uint8", "aoti_torch_dtype_uint8", 1},
                                         {"int8", "aoti_torch_dtype_int8", 1},
                                         {"uint16", "aoti_torch_dtype_uint16", 2},
                                         {"int16", "aoti_torch_dtype_int16", 2},
                                         {"uint32", "aoti_torch_dtype_uint32", 4},
                                         {"int32", "aoti_torch_dtype_int32", 4},
                                         {"uint64", "aoti_torch_dtype_uint64", 8},
                                         {"int64", "aoti_torch_dtype_int64", 8},
                                         {"float16", "aoti_torch_dtype_float16", 2},
                                         {"bfloat16", "aoti_torch_dtype_bfloat16", 2},
                                         {"float32", "aoti_torch_dtype_float32", 4},
                                         {"float64", "aoti_torch_dtype_float64", 8},
                                         {"complex64", "aoti_torch_dtype_complex64", 8},
                                         {"complex128", "aoti_torch_dtype_complex128", 16}}};

}  // namespace

std::span<const Dtype> dtypes() { return kDtypes; }

}  // namespace pyperf::aoti
