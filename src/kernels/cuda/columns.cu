#include "kernels/columns_backend.h"
#include "kernels/cuda/units.cuh"

namespace conclave::kernels::cuda {
namespace {

template <Way way, typename Unit>
void copy_rows(const Stream& stream, const Tensor& x, const Tensor& left, const Tensor& right) {
  const int64_t per_element = dtype_size(x.dtype());
  const int64_t a = left.size(1) * per_element / static_cast<int64_t>(sizeof(Unit));
  const int64_t b = right.size(1) * per_element / static_cast<int64_t>(sizeof(Unit));
  Unit *whole = units<Unit>(x), *to_left = units<Unit>(left), *to_right = units<Unit>(right);
  for_each(stream, way == Way::kSplit ? "split_columns" : "join_columns", x.size(0) * (a + b), [=] __device__(auto i) {
    using Index = decltype(i);
    const Index row = i / static_cast<Index>(a + b), column = i - row * static_cast<Index>(a + b);
    Unit* part = column < a ? to_left + int64_t{row} * a + column : to_right + int64_t{row} * b + (column - a);
    move_unit<way>(whole[i], *part);
  });
}

template <Way way>
void copy_all(const Stream& stream, const Tensor& x, const Tensor& left, const Tensor& right) {
  const int64_t per_element = dtype_size(x.dtype());
  UnitBytes unit;
  unit.divides(left.size(1) * per_element).divides(right.size(1) * per_element).holds(x).holds(left).holds(right);
  with_unit(unit.get(), [&](auto zero) { copy_rows<way, decltype(zero)>(stream, x, left, right); });
}

}  // namespace

void split_columns(const Stream& stream, const SplitColumnsArgs& args) {
  copy_all<Way::kSplit>(stream, args.x, args.left, args.right);
}

void join_columns(const Stream& stream, const JoinColumnsArgs& args) {
  copy_all<Way::kJoin>(stream, args.x, args.left, args.right);
}

}  // namespace conclave::kernels::cuda
