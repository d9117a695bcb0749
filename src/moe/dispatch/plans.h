// The dispatchers, one file each.
#pragma once

#include "moe/dispatch/dispatcher.h"
#include "moe/dispatch/expert_group.h"

namespace conclave {

using SharedPlan = std::shared_ptr<const DispatchPlan>;

/// One rank holds every expert: a permutation and nothing else.
SharedPlan make_local_plan(const Context& context, const Routing& routing);

/// Gathers all tokens, and all rows back. For tests: everything is done on every rank.
SharedPlan make_reference_plan(const Context& context, const ExpertGroup& group, const Routing& routing);

/// Gathers all tokens, picks those of the experts held here; back: sums over the ranks.
SharedPlan make_all_gather_plan(const Context& context, const ExpertGroup& group, const Routing& routing);

/// Sends each row to the rank of its expert (EP), then to those that share the expert (ETP); back likewise.
SharedPlan make_all_to_all_plan(const Context& context, const ExpertGroup& group, const Routing& routing);

/// Sends each token once to each node that has one of its experts, spreads it there; back: sums inside the node first.
SharedPlan make_flex_plan(const Context& context, const DispatchConfig& config, const ExpertGroup& group,
                          const Routing& routing);

}  // namespace conclave
