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

/// off_by() of compare.h as a Mismatch; a tensor up to 1e-6 throughout counts as zero.
void expect_close(const std::string& name, const std::vector<double>& got, const SafetensorsEntry& wanted,
                  double relative);

}  // namespace conclave::proof
