#include "layout/model_part.h"

namespace conclave {

ModelPart model_part(const RankLayout& layout, int64_t rank, bool sequence_parallel) {
  const LayoutSizes& sizes = layout.sizes();
  const DenseCoordinates dense = layout.dense(rank);
  const ExpertCoordinates expert = layout.expert(rank);
  return {.tensor = {dense.tensor, sizes.tensor},
          .context = {dense.context, sizes.context},
          .expert = {expert.expert, sizes.expert},
          .expert_tensor = {expert.tensor, sizes.expert_tensor},
          .sequence_parallel = sequence_parallel && sizes.tensor > 1,
          .context_exchange = {ContextExchange::kRing}};
}

}  // namespace conclave
