#include "kernels/router_balance.h"

namespace conclave::kernels {
CONCLAVE_NO_CUDA_KERNEL(balance_scores, BalanceScoresArgs)
CONCLAVE_NO_CUDA_KERNEL(running_counts, RunningCountsArgs)
CONCLAVE_NO_CUDA_KERNEL(balance_loss, BalanceLossArgs)
CONCLAVE_NO_CUDA_KERNEL(balance_backward, BalanceBackwardArgs)
CONCLAVE_NO_CUDA_KERNEL(expert_bias_update, ExpertBiasUpdateArgs)
}  // namespace conclave::kernels
