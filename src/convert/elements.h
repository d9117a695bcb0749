// Rows of elements from one dtype to another.
#pragma once

#include <cstddef>
#include <span>

#include "base/dtype.h"

namespace conclave {

/// Converts floating elements; as many come out as went in. The same dtype: copied bit for bit. Narrowing rounds to
/// nearest even. FP8 is read, never written.
void convert_elements(DType from, std::span<const std::byte> source, DType to, std::span<std::byte> target);

/// How many elements are NaN or infinite.
int64_t count_non_finite(DType dtype, std::span<const std::byte> elements);

}  // namespace conclave
