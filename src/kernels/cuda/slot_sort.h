// Choices in order of their expert: a stable counting sort of [T,K] on the device, without atomics.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels::cuda {

struct SlotSort {
  Tensor experts;            ///< [T,K] i32; -1 and what is no expert have no place
  int64_t expert_count = 0;  ///< E, at most kMostExperts
  int64_t capacity = 0;      ///< > 0: places of expert e begin at e * capacity
  // Out, raw pointers on the device, each optional:
  int64_t* counts = nullptr;      ///< [E]; with capacity: the capacity
  int64_t* offsets = nullptr;     ///< [E+1] first place of each expert
  int32_t* offsets32 = nullptr;   ///< [E+1] the same
  int32_t* place_slot = nullptr;  ///< [places] slot t*K + k at each place that is taken; others are left alone
  int32_t* place_token = nullptr;
  int32_t* slot_place = nullptr;  ///< [T,K] place of each slot, -1 for none
};
inline constexpr int64_t kMostExperts = 6144;
void sort_slots(const Stream& stream, const char* op, const SlotSort& sort);

}  // namespace conclave::kernels::cuda
