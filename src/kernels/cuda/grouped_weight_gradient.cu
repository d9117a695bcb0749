#include "kernels/cuda/grouped_launch.h"

namespace conclave::kernels::cuda {

template void launch_grouped_of_kind<GroupedKind::kWeightGradient>(const GroupedProduct&, const GroupedTiling&,
                                                                   cudaStream_t);

}  // namespace conclave::kernels::cuda
