#include "kernels/axes_backend.h"
#include "kernels/cuda/units.cuh"

namespace conclave::kernels::cuda {
namespace {

template <typename Unit>
void swap_by(const Stream& stream, const SwapAxesArgs& args) {
  const int64_t a = args.x.size(0), b = args.x.size(1);
  const int64_t row = args.x.size(2) * dtype_size(args.x.dtype()) / static_cast<int64_t>(sizeof(Unit));
  const Unit* x = units<Unit>(args.x);
  Unit* y = units<Unit>(args.y);
  for_each(stream, "swap_axes", a * b * row, [=] __device__(auto i) {
    using Index = decltype(i);
    const Index place = i / static_cast<Index>(row), unit = i - place * static_cast<Index>(row);
    const Index second = place / static_cast<Index>(a), first = place - second * static_cast<Index>(a);
    y[i] = x[(int64_t{first} * b + second) * row + unit];
  });
}

}  // namespace

void swap_axes(const Stream& stream, const SwapAxesArgs& args) {
  UnitBytes unit;
  unit.divides(args.x.size(2) * dtype_size(args.x.dtype())).holds(args.x).holds(args.y);
  with_unit(unit.get(), [&](auto zero) { swap_by<decltype(zero)>(stream, args); });
}

}  // namespace conclave::kernels::cuda
