#include "kernels/router_balance.h"

namespace conclave::kernels {
CONCLAVE_SIM_KERNEL(balance_scores, BalanceScoresArgs)
CONCLAVE_SIM_KERNEL(running_counts, RunningCountsArgs)
CONCLAVE_SIM_KERNEL(balance_loss, BalanceLossArgs)
CONCLAVE_SIM_KERNEL(balance_backward, BalanceBackwardArgs)
CONCLAVE_SIM_KERNEL(expert_bias_update, ExpertBiasUpdateArgs)
}  // namespace conclave::kernels
