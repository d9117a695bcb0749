#include "moe/dispatch/dispatcher.h"

#include "moe/dispatch/plans.h"

namespace conclave {

std::shared_ptr<const DispatchPlan> plan_dispatch(const Context& context, const DispatchConfig& config,
                                                  const Routing& routing) {
  const ExpertGroup group(*context.groups, routing.expert_count);
  if (group.ranks() == 1) return make_local_plan(context, routing);
  switch (config.kind) {
    case DispatcherKind::kReference:
      return make_reference_plan(context, group, routing);
    case DispatcherKind::kAllGather:
      return make_all_gather_plan(context, group, routing);
    case DispatcherKind::kAllToAll:
      return make_all_to_all_plan(context, group, routing);
    case DispatcherKind::kDeepEp:
    case DispatcherKind::kHybridEp:
      break;
  }
  return make_flex_plan(context, config, group, routing);
}

}  // namespace conclave
