#include "layout/rank_layout.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "config/pipeline_layout.h"
#include "config/resolve.h"

namespace conclave {
namespace {

struct NamedSize {
  std::string_view name;
  int64_t size;
};

std::vector<GridAxis> make_grid(const std::string& order, const std::vector<NamedSize>& sizes) {
  std::vector<GridAxis> grid;
  int64_t stride = 1;
  for (const std::string& name : split(order, '-')) {
    const auto known = std::find_if(sizes.begin(), sizes.end(), [&](const NamedSize& s) { return s.name == name; });
    CONCLAVE_USER_CHECK(known != sizes.end(), "the order of ranks names tp, cp, ep, dp and pp; got '{}' in '{}'", name,
                        order);
    const bool twice = std::any_of(grid.begin(), grid.end(), [&](const GridAxis& axis) { return axis.name == name; });
    CONCLAVE_USER_CHECK(!twice, "the order of ranks names each axis once; got '{}'", order);
    grid.push_back({name, known->size, stride});
    stride *= known->size;
  }
  for (const NamedSize& axis : sizes) {
    const bool named = std::any_of(grid.begin(), grid.end(), [&](const GridAxis& a) { return a.name == axis.name; });
    CONCLAVE_USER_CHECK(named || axis.size == 1,
                        "the order of ranks must name every axis above 1; got '{}' without {}; "
                        "add it",
                        order, axis.name);
    if (!named) grid.push_back({std::string(axis.name), 1, stride});
  }
  return grid;
}

const GridAxis& axis_of(const std::vector<GridAxis>& grid, std::string_view name) {
  const auto axis = std::find_if(grid.begin(), grid.end(), [&](const GridAxis& a) { return a.name == name; });
  CONCLAVE_CHECK(axis != grid.end(), "axis {}", name);
  return *axis;
}

int64_t coordinate(const std::vector<GridAxis>& grid, std::string_view name, int64_t rank) {
  const GridAxis& axis = axis_of(grid, name);
  return rank / axis.stride % axis.size;
}

// A kind's groups before they are cut or merged: the axes that vary inside a group.
struct Family {
  bool expert_grid = false;
  std::vector<std::string_view> axes;
};

Family family_of(GroupKind kind) {
  switch (kind) {
    case GroupKind::kTensor:
      return {false, {"tp"}};
    case GroupKind::kContext:
      return {false, {"cp"}};
    case GroupKind::kData:
      return {false, {"dp"}};
    case GroupKind::kDataContext:
    case GroupKind::kDataContextOfInstance:
      return {false, {"dp", "cp"}};
    case GroupKind::kPipeline:
    case GroupKind::kEmbedding:
    case GroupKind::kPositionEmbedding:
      return {false, {"pp"}};
    case GroupKind::kTensorPipeline:
      return {false, {"tp", "pp"}};
    case GroupKind::kTensorData:
      return {false, {"tp", "dp"}};
    case GroupKind::kTensorContext:
      return {false, {"tp", "cp"}};
    case GroupKind::kTensorDataContext:
      return {false, {"tp", "dp", "cp"}};
    case GroupKind::kExpert:
      return {true, {"ep"}};
    case GroupKind::kExpertTensor:
      return {true, {"tp"}};
    case GroupKind::kExpertTensorExpert:
      return {true, {"tp", "ep"}};
    case GroupKind::kExpertTensorExpertPipeline:
    case GroupKind::kInstance:
      return {true, {"tp", "ep", "pp"}};
    case GroupKind::kExpertData:
    case GroupKind::kExpertDataOfInstance:
    case GroupKind::kExpertDataAcrossInstances:
      return {true, {"dp"}};
  }
  return {};
}

// Ranks whose coordinates on the chosen axes vary, the others fixed. Groups are numbered by the fixed coordinates and
// members by the varying ones, fastest axis first.
class Selection {
 public:
  Selection(const std::vector<GridAxis>& grid, const std::vector<std::string_view>& axes) {
    for (const GridAxis& axis : grid) {
      const bool varies = std::find(axes.begin(), axes.end(), axis.name) != axes.end();
      (varies ? inside_ : outside_).push_back(axis);
    }
  }
  int64_t size() const { return product(inside_); }
  int64_t count() const { return product(outside_); }
  int64_t rank(int64_t group, int64_t position) const { return spread(outside_, group) + spread(inside_, position); }
  GroupPlace place(int64_t rank) const { return {gather(outside_, rank), gather(inside_, rank)}; }

 private:
  std::vector<GridAxis> inside_, outside_;

  static int64_t product(const std::vector<GridAxis>& axes) {
    int64_t total = 1;
    for (const GridAxis& axis : axes) total *= axis.size;
    return total;
  }
  static int64_t spread(const std::vector<GridAxis>& axes, int64_t number) {
    int64_t rank = 0;
    for (const GridAxis& axis : axes) {
      rank += number % axis.size * axis.stride;
      number /= axis.size;
    }
    return rank;
  }
  static int64_t gather(const std::vector<GridAxis>& axes, int64_t rank) {
    int64_t number = 0, weight = 1;
    for (const GridAxis& axis : axes) {
      number += rank / axis.stride % axis.size * weight;
      weight *= axis.size;
    }
    return number;
  }
};

// Each group of `size` ranks falls into pieces of `length`: contiguous ones, or one rank out of each.
struct Pieces {
  int64_t size;
  int64_t length;
  bool strided;

  int64_t step() const { return strided ? size / length : 1; }
  int64_t count() const { return size / length; }
  int64_t member(int64_t piece, int64_t position) const {
    return strided ? piece + position * step() : piece * length + position;
  }
  GroupPlace place(int64_t position) const {
    return strided ? GroupPlace{position % step(), position / step()}
                   : GroupPlace{position / length, position % length};
  }
};

std::optional<Pieces> pieces_of(GroupKind kind, int64_t size, int64_t instances) {
  if (kind == GroupKind::kDataContextOfInstance || kind == GroupKind::kExpertDataOfInstance) {
    return Pieces{size, size / instances, false};
  }
  if (kind == GroupKind::kExpertDataAcrossInstances) return Pieces{size, instances, true};
  return std::nullopt;
}

void check_sizes(const LayoutSizes& sizes) {
  CONCLAVE_USER_CHECK(sizes.world >= 1 && sizes.tensor >= 1 && sizes.context >= 1 && sizes.pipeline >= 1 &&
                          sizes.expert >= 1 && sizes.expert_tensor >= 1 && sizes.optimizer_instances >= 1,
                      "sizes of a layout must be at least 1; got tp {}, cp {}, pp {}, ep {}, etp {} on {} ranks",
                      sizes.tensor, sizes.context, sizes.pipeline, sizes.expert, sizes.expert_tensor, sizes.world);
  const int64_t dense = sizes.tensor * sizes.context * sizes.pipeline;
  const int64_t expert = sizes.expert_tensor * sizes.expert * sizes.pipeline;
  CONCLAVE_USER_CHECK(sizes.world % dense == 0,
                      "the number of ranks must be divisible by tensor * context * pipeline size; got {} ranks and {}; "
                      "start another number of ranks",
                      sizes.world, dense);
  CONCLAVE_USER_CHECK(
      sizes.world % expert == 0,
      "the number of ranks must be divisible by expert tensor * expert * pipeline size; got {} ranks and "
      "{}; start another number of ranks",
      sizes.world, expert);
  CONCLAVE_USER_CHECK(sizes.virtual_pipeline == 1 || sizes.pipeline > 1,
                      "several chunks on a pipeline rank need --pipeline-model-parallel-size above 1; got 1 and {} "
                      "chunks; raise it",
                      sizes.virtual_pipeline);
  const auto& levels = sizes.hierarchical_context;
  const int64_t product = std::accumulate(levels.begin(), levels.end(), int64_t{1}, std::multiplies<>());
  CONCLAVE_USER_CHECK(levels.empty() || product == sizes.context,
                      "--hierarchical-context-parallel-sizes must multiply to --context-parallel-size; got {} and {}; "
                      "change one of them",
                      product, sizes.context);
}

}  // namespace

LayoutSizes layout_sizes(const Options& options) {
  const ParallelOptions& parallel = options.parallel;
  LayoutSizes sizes;
  sizes.world = parallel.world_size;
  sizes.tensor = parallel.tensor_model_parallel_size;
  sizes.context = parallel.context_parallel_size;
  sizes.pipeline = parallel.pipeline_model_parallel_size;
  sizes.expert = parallel.expert_model_parallel_size;
  sizes.expert_tensor = parallel.expert_tensor_parallel_size;
  sizes.virtual_pipeline = virtual_pipeline_size(options);
  sizes.optimizer_instances = parallel.num_distributed_optimizer_instances;
  sizes.hierarchical_context = parallel.hierarchical_context_parallel_sizes;
  sizes.ranks_per_node = parallel.ranks_per_node;
  if (parallel.use_tp_pp_dp_mapping) sizes.order = "tp-cp-ep-pp-dp";
  return sizes;
}

RankLayout::RankLayout(LayoutSizes sizes) : sizes_(std::move(sizes)) {
  if (sizes_.expert_tensor == 0) sizes_.expert_tensor = sizes_.tensor;
  check_sizes(sizes_);
  data_ = sizes_.world / (sizes_.tensor * sizes_.context * sizes_.pipeline);
  expert_data_ = sizes_.world / (sizes_.expert_tensor * sizes_.expert * sizes_.pipeline);
  const std::string& order = sizes_.order;
  // Each grid leaves one axis at 1, but both must find a place for what is above 1.
  for (const auto& [name, size] : {NamedSize{"cp", sizes_.context}, NamedSize{"ep", sizes_.expert}}) {
    const std::vector<std::string> names = split(order, '-');
    CONCLAVE_USER_CHECK(size == 1 || std::find(names.begin(), names.end(), name) != names.end(),
                        "the order of ranks must name every axis above 1; got '{}' without {}; add it", order, name);
  }
  dense_ = make_grid(
      order, {{"tp", sizes_.tensor}, {"cp", sizes_.context}, {"ep", 1}, {"dp", data_}, {"pp", sizes_.pipeline}});
  expert_ = make_grid(
      order,
      {{"tp", sizes_.expert_tensor}, {"cp", 1}, {"ep", sizes_.expert}, {"dp", expert_data_}, {"pp", sizes_.pipeline}});
  CONCLAVE_USER_CHECK(
      order.ends_with("pp") || sizes_.pipeline == 1 || data_ == expert_data_,
      "with the order '{}' attention and experts need equal data-parallel sizes; got {} and {}; end the "
      "order in pp",
      order, data_, expert_data_);
  CONCLAVE_USER_CHECK(sizes_.pipeline == 1 || axis_of(dense_, "pp").stride == axis_of(expert_, "pp").stride,
                      "with the order '{}' attention and experts would have different pipelines; end the order in pp",
                      order);
  const int64_t copies = sizes_.optimizer_instances;
  CONCLAVE_USER_CHECK(data_ * sizes_.context % copies == 0 && expert_data_ % copies == 0,
                      "--num-distributed-optimizer-instances must divide the data-parallel size ({}) and the experts' "
                      "({}); got {}; choose a divisor",
                      data_ * sizes_.context, expert_data_, copies);
}

DenseCoordinates RankLayout::dense(int64_t rank) const {
  return {coordinate(dense_, "tp", rank), coordinate(dense_, "cp", rank), coordinate(dense_, "dp", rank),
          coordinate(dense_, "pp", rank)};
}

ExpertCoordinates RankLayout::expert(int64_t rank) const {
  return {coordinate(expert_, "tp", rank), coordinate(expert_, "ep", rank), coordinate(expert_, "dp", rank),
          coordinate(expert_, "pp", rank)};
}

int64_t RankLayout::group_size(GroupKind kind) const {
  if (kind == GroupKind::kPositionEmbedding) return 1;
  if (kind == GroupKind::kEmbedding) return std::min<int64_t>(sizes_.pipeline, 2);
  if (kind == GroupKind::kInstance) return sizes_.world / sizes_.optimizer_instances;
  const Family family = family_of(kind);
  const int64_t size = Selection(family.expert_grid ? expert_ : dense_, family.axes).size();
  const auto pieces = pieces_of(kind, size, sizes_.optimizer_instances);
  return pieces ? pieces->length : size;
}

int64_t RankLayout::group_count(GroupKind kind) const {
  if (kind == GroupKind::kInstance) return sizes_.optimizer_instances;
  const Family family = family_of(kind);
  const Selection whole(family.expert_grid ? expert_ : dense_, family.axes);
  const auto pieces = pieces_of(kind, whole.size(), sizes_.optimizer_instances);
  return whole.count() * (pieces ? pieces->count() : 1);
}

std::vector<int64_t> RankLayout::group(GroupKind kind, int64_t index) const {
  CONCLAVE_CHECK(index >= 0 && index < group_count(kind), "group {} of {}", index, group_count(kind));
  const Family family = family_of(kind);
  const Selection whole(family.expert_grid ? expert_ : dense_, family.axes);
  const int64_t size = group_size(kind);
  std::vector<int64_t> ranks(static_cast<size_t>(size));
  const auto pieces = pieces_of(kind, whole.size(), sizes_.optimizer_instances);
  for (int64_t i = 0; i < size; ++i) {
    int64_t& rank = ranks[static_cast<size_t>(i)];
    if (pieces) {
      rank = whole.rank(index / pieces->count(), pieces->member(index % pieces->count(), i));
    } else if (kind == GroupKind::kInstance) {
      rank = whole.rank(index * (size / whole.size()) + i / whole.size(), i % whole.size());
    } else {
      rank = whole.rank(index, kind == GroupKind::kEmbedding && i == 1 ? sizes_.pipeline - 1 : i);
    }
  }
  return ranks;
}

std::optional<GroupPlace> RankLayout::place(GroupKind kind, int64_t rank) const {
  CONCLAVE_CHECK(rank >= 0 && rank < sizes_.world, "rank {} of {}", rank, sizes_.world);
  const Family family = family_of(kind);
  const Selection whole(family.expert_grid ? expert_ : dense_, family.axes);
  const GroupPlace place = whole.place(rank);
  if (kind == GroupKind::kInstance) {
    const int64_t merged = expert_data_ / sizes_.optimizer_instances;
    return GroupPlace{place.index / merged, place.index % merged * whole.size() + place.position};
  }
  if (kind == GroupKind::kEmbedding || kind == GroupKind::kPositionEmbedding) {
    if (place.position == 0) return place;
    if (kind == GroupKind::kPositionEmbedding || place.position != sizes_.pipeline - 1) return std::nullopt;
    return GroupPlace{place.index, 1};
  }
  const auto pieces = pieces_of(kind, whole.size(), sizes_.optimizer_instances);
  if (!pieces) return place;
  const GroupPlace inner = pieces->place(place.position);
  return GroupPlace{place.index * pieces->count() + inner.index, inner.position};
}

int64_t RankLayout::context_level_groups(int64_t level) const {
  return sizes_.world / sizes_.hierarchical_context.at(static_cast<size_t>(level));
}

std::vector<int64_t> RankLayout::context_level_group(int64_t level, int64_t index) const {
  const auto& levels = sizes_.hierarchical_context;
  const int64_t length = levels.at(static_cast<size_t>(level)), inside = sizes_.context / length;
  int64_t stride = 1;
  for (int64_t i = 0; i < level; ++i) stride *= levels[static_cast<size_t>(i)];
  const int64_t piece = index % inside;
  const int64_t first = piece % stride + piece / stride * stride * length;
  const Selection whole(dense_, {"cp"});
  std::vector<int64_t> ranks;
  for (int64_t i = 0; i < length; ++i) ranks.push_back(whole.rank(index / inside, first + i * stride));
  return ranks;
}

int64_t RankLayout::context_level_index(int64_t level, int64_t rank) const {
  const auto& levels = sizes_.hierarchical_context;
  const int64_t length = levels.at(static_cast<size_t>(level)), inside = sizes_.context / length;
  int64_t stride = 1;
  for (int64_t i = 0; i < level; ++i) stride *= levels[static_cast<size_t>(i)];
  const GroupPlace place = Selection(dense_, {"cp"}).place(rank);
  return place.index * inside + place.position % stride + place.position / (stride * length) * stride;
}

std::vector<int64_t> embedding_ranks(const std::vector<int64_t>& pipeline_ranks, bool tied,
                                     std::optional<int64_t> mtp_num_layers, const std::optional<std::string>& layout) {
  CONCLAVE_CHECK(!pipeline_ranks.empty(), "a pipeline has at least one rank");
  std::vector<int64_t> ranks = {pipeline_ranks.front()};
  if (tied) ranks.push_back(pipeline_ranks.back());
  if (mtp_num_layers && layout) {
    const PipelineLayout stages = parse_pipeline_layout(*layout);
    for (size_t i = 0; i < stages.stages.size(); ++i) {
      if (stages.stages[i].find('m') != std::string::npos) ranks.push_back(pipeline_ranks[i % pipeline_ranks.size()]);
    }
  } else if (mtp_num_layers) {
    ranks.push_back(pipeline_ranks.back());
  }
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

}  // namespace conclave
