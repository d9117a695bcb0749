#include "kernels/columns_backend.h"
#include "kernels/cpu/vector.h"

namespace conclave::kernels::cpu {
namespace {

// copy(row of x, row of left, row of right, bytes of left, bytes of right) for every row.
template <typename Copy>
void for_each_row(const Tensor& x, const Tensor& left, const Tensor& right, Copy copy) {
  const int64_t rows = x.size(0), size = dtype_size(x.dtype());
  const int64_t a = left.size(1) * size, b = right.size(1) * size;
#pragma omp parallel for schedule(static) if (x.element_count() >= (1 << 14))
  for (int64_t r = 0; r < rows; ++r) copy(x.raw() + r * (a + b), left.raw() + r * a, right.raw() + r * b, a, b);
}

}  // namespace

void split_columns(const Stream&, const SplitColumnsArgs& args) {
  for_each_row(args.x, args.left, args.right,
               [](const std::byte* x, std::byte* left, std::byte* right, int64_t a, int64_t b) {
                 copy_row(left, x, a);
                 copy_row(right, x + a, b);
               });
}

void join_columns(const Stream&, const JoinColumnsArgs& args) {
  for_each_row(args.x, args.left, args.right,
               [](std::byte* x, const std::byte* left, const std::byte* right, int64_t a, int64_t b) {
                 copy_row(x, left, a);
                 copy_row(x + a, right, b);
               });
}

}  // namespace conclave::kernels::cpu
