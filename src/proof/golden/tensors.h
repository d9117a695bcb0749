// Tensors of golden files: onto a device, and against what the product gives.
#pragma once

#include <string>
#include <vector>

#include "base/safetensors.h"
#include "tensor/tensor.h"

namespace conclave::proof {

/// The entry's bytes on `device`, same dtype and shape.
Tensor to_device(Device& device, const SafetensorsEntry& entry);
/// The entry's values; f64, f32, bf16, i64, i32 and u8.
std::vector<double> values_of(const SafetensorsEntry& entry);

/// Throws Mismatch naming the first element that is off unless `got` has as many elements and each is within `relative`
/// times the largest magnitude of `wanted`. A tensor below 1e-6 throughout counts as zero: it is met within 1e-6. NaN
/// never passes.
void expect_close(const std::string& name, const std::vector<double>& got, const SafetensorsEntry& wanted,
                  double relative);

}  // namespace conclave::proof
