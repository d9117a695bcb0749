// Who is in which process group, as arithmetic on ranks. Attention lives on a grid TP x CP x DP x PP, experts on a grid
// ETP x EP x EDP x PP over the same ranks ("folding"). Every answer costs as much as the group asked for, never as much
// as the world.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/options.h"

namespace conclave {

struct LayoutSizes {
  int64_t world = 1;
  int64_t tensor = 1;         ///< TP
  int64_t context = 1;        ///< CP
  int64_t pipeline = 1;       ///< PP
  int64_t expert = 1;         ///< EP
  int64_t expert_tensor = 0;  ///< ETP; 0: TP
  int64_t virtual_pipeline = 1;
  int64_t optimizer_instances = 1;
  int64_t ranks_per_node = 0;                 ///< rank r is on node r / ranks_per_node; 0: all are on one
  std::vector<int64_t> hierarchical_context;  ///< levels of CP, fastest first; empty: one level
  std::string order = "tp-cp-ep-dp-pp";       ///< names of the axes, fastest-varying first
};

/// From resolved options.
LayoutSizes layout_sizes(const Options& options);

enum class GroupKind {
  // Attention's grid.
  kTensor,
  kContext,
  kData,
  kDataContext,
  kPipeline,
  kTensorPipeline,
  kTensorData,
  kTensorContext,
  kTensorDataContext,
  kEmbedding,          ///< first and last rank of a pipeline
  kPositionEmbedding,  ///< first rank of a pipeline
  // The experts' grid.
  kExpert,
  kExpertTensor,
  kExpertTensorExpert,
  kExpertTensorExpertPipeline,
  kExpertData,
  // Pieces for several optimizer instances (one instance: the whole).
  kDataContextOfInstance,
  kExpertDataOfInstance,
  kExpertDataAcrossInstances,
  kInstance  ///< all ranks that share one copy of the optimizer's state
};

/// Where a rank stands in its group of a kind: the group's number and the rank's place in it.
struct GroupPlace {
  int64_t index = 0;
  int64_t position = 0;

  bool operator==(const GroupPlace&) const = default;
};

struct DenseCoordinates {
  int64_t tensor = 0, context = 0, data = 0, pipeline = 0;
};
struct ExpertCoordinates {
  int64_t tensor = 0, expert = 0, data = 0, pipeline = 0;
};

/// One named dimension of a grid.
struct GridAxis {
  std::string name;
  int64_t size = 1;
  int64_t stride = 1;  ///< ranks between neighbours
};

class RankLayout {
 public:
  /// Throws UserError where the sizes do not fit each other, the world or the order.
  explicit RankLayout(LayoutSizes sizes);

  const LayoutSizes& sizes() const { return sizes_; }
  int64_t data_size() const { return data_; }                ///< DP
  int64_t expert_data_size() const { return expert_data_; }  ///< EDP
  DenseCoordinates dense(int64_t rank) const;
  ExpertCoordinates expert(int64_t rank) const;

  int64_t group_count(GroupKind kind) const;
  int64_t group_size(GroupKind kind) const;
  /// Ranks of group number `index`; a rank's place in the list is its rank in the group.
  std::vector<int64_t> group(GroupKind kind, int64_t index) const;
  /// Nothing if the rank is in no group of that kind (kEmbedding, kPositionEmbedding).
  std::optional<GroupPlace> place(GroupKind kind, int64_t rank) const;

  /// Groups of one level of a hierarchical context group.
  int64_t context_level_count() const { return static_cast<int64_t>(sizes_.hierarchical_context.size()); }
  int64_t context_level_groups(int64_t level) const;
  std::vector<int64_t> context_level_group(int64_t level, int64_t index) const;
  /// The number of the one that a rank is in.
  int64_t context_level_index(int64_t level, int64_t rank) const;

 private:
  LayoutSizes sizes_;
  int64_t data_ = 1, expert_data_ = 1;
  std::vector<GridAxis> dense_, expert_;  ///< fastest first
};

/// Ranks of a pipeline group that hold a copy of the word embedding: the first, the last with tied embeddings, and
/// those with prediction layers (`mtp_num_layers` given, by `layout` or on the last rank). Sorted, each once.
std::vector<int64_t> embedding_ranks(const std::vector<int64_t>& pipeline_ranks, bool tied,
                                     std::optional<int64_t> mtp_num_layers, const std::optional<std::string>& layout);

}  // namespace conclave
