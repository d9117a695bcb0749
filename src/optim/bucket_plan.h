// How parameters lie in a flat buffer, where it is cut into buckets, and which data-parallel rank answers for which
// elements. Pure; a function of sizes alone, never of options that only hide communication.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/parameter.h"

namespace conclave {

/// Every parameter starts at a multiple of this many elements of its flat buffer: whole cache lines of any dtype.
inline constexpr int64_t kAlignedElements = 64;

/// What an optimizer wants to see whole on one rank.
enum class ShardUnit {
  kElements,  ///< nothing: any elements
  kMatrices   ///< every matrix (spec.matrix_axes trailing axes) of the parameters that are matrices by their role
};
/// Elements of a parameter that must stay on one rank; 1: any.
int64_t unit_elements(const ParameterSpec& spec, ShardUnit unit);

struct PlannedParameter {
  int64_t count = 0;  ///< elements held by this rank
  int64_t unit = 1;   ///< elements that stay together, a divisor of count; 1: any
};

struct Bucket {
  int64_t begin = 0, end = 0;  ///< elements of the flat buffer; multiples of kAlignedElements
  size_t first = 0, last = 0;  ///< parameters [first, last), in buffer order
  /// Rank r answers for elements [cuts[r], cuts[r + 1]); one more than ranks. Pieces are as equal as units allow; they
  /// may be empty.
  std::vector<int64_t> cuts;

  int64_t length() const { return end - begin; }
};

struct BucketPlan {
  std::vector<int64_t> begins;  ///< of each parameter
  std::vector<Bucket> buckets;
  int64_t elements = 0;
};

/// A bucket closes once it has `bucket_elements` or more; what follows parameter number `split` - 1 begins a new one.
BucketPlan plan_buckets(const std::vector<PlannedParameter>& parameters, size_t split, int64_t bucket_elements,
                        int64_t ranks);

/// Size of a bucket if none is asked for: max(40e6, 1e6 * ranks).
int64_t default_bucket_elements(int64_t ranks);

}  // namespace conclave
