#include "kernels/masked_sum.h"

#include "kernels/ref/masked_sum.h"

namespace conclave::kernels::cpu {

// A few thousand tokens once per micro-batch: the plain loop is far below what a step can notice.
void masked_sum(const Stream&, const MaskedSumArgs& args) {
  ref::masked_sum(args.values.data<float>(), args.mask.data<float>(), args.values.element_count(),
                  args.out.data<double>());
}

}  // namespace conclave::kernels::cpu
