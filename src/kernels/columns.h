// Two matrices side by side: taken apart, and put together.
#pragma once

#include "kernels/kernel.h"

namespace conclave::kernels {

/// x [R,A+B] -> left [R,A], right [R,B]. Elements of 2 or 4 bytes.
struct SplitColumnsArgs {
  Tensor x, left, right;
};
void split_columns(const Stream& stream, const SplitColumnsArgs& args);
Cost split_columns_cost(const SplitColumnsArgs& args);

/// The inverse: left [R,A], right [R,B] -> x [R,A+B].
struct JoinColumnsArgs {
  Tensor left, right, x;
};
void join_columns(const Stream& stream, const JoinColumnsArgs& args);
Cost join_columns_cost(const JoinColumnsArgs& args);

}  // namespace conclave::kernels
