#include "moe/dispatch/expert_group.h"

#include "moe/dispatch/index.h"

namespace conclave {

ExpertGroup::ExpertGroup(ProcessGroups& groups, int64_t experts)
    : groups_(&groups), expert_(groups.part().expert), tensor_(groups.part().expert_tensor), experts_(experts) {
  CONCLAVE_CHECK(experts % expert_.size == 0, "[moe/dispatch] {} experts over {} ranks", experts, expert_.size);
}

std::vector<int64_t> ExpertGroup::world_ranks() const {
  const RankLayout& layout = groups_->layout();
  const GroupPlace place = layout.place(GroupKind::kExpertTensorExpert, groups_->rank()).value();
  const std::vector<int64_t> ranks = layout.group(GroupKind::kExpertTensorExpert, place.index);  // ETP fastest
  std::vector<int64_t> out;
  for (int64_t tensor = 0; tensor < tensor_.size; ++tensor)
    for (int64_t owner = 0; owner < expert_.size; ++owner)
      out.push_back(ranks[static_cast<size_t>(tensor + tensor_.size * owner)]);
  return out;
}

Tensor ExpertGroup::gather(const Context& context, const Tensor& x, const char* name) const {
  Tensor all = x.as_matrix();
  const int64_t width = all.size(1);
  for (const GroupKind kind : {GroupKind::kExpert, GroupKind::kExpertTensor}) {
    Communicator& ranks = groups_->of(kind);
    if (ranks.size() == 1) continue;
    const Tensor out = context.empty({all.size(0) * ranks.size(), width}, all.dtype(), "dispatch.gathered");
    ranks.all_gather(context.stream, all, out, name);
    all = out;
  }
  return all;
}

Tensor ExpertGroup::sum_own(const Context& context, const Tensor& x, const char* name) const {
  Tensor sum = x;
  for (const GroupKind kind : {GroupKind::kExpertTensor, GroupKind::kExpert}) {
    Communicator& ranks = groups_->of(kind);
    if (ranks.size() == 1) continue;
    const Tensor out = context.empty({sum.size(0) / ranks.size(), x.size(1)}, x.dtype(), "combine.summed");
    ranks.reduce_scatter(context.stream, sum, out, name);
    sum = out;
  }
  return sum;
}

Tensor ExpertGroup::local_numbers(const Context& context) const {
  std::vector<int32_t> numbers(static_cast<size_t>(experts_), -1);
  for (int64_t e = 0; e < held(); ++e) numbers[static_cast<size_t>(first() + e)] = static_cast<int32_t>(e);
  return index_tensor(context, numbers);
}

}  // namespace conclave
