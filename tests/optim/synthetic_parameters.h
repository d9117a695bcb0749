// The parameters of a made-up model under any layout, and what each rank adds to their gradients: the same sums
// whatever the layout. No module is needed for what stores do.
//
// A step is kBatches micro-batches of kPieces pieces of the sequence each. A rank adds the contributions of the batches
// and pieces that its place on the grids gives it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/hash.h"
#include "comm/process_groups.h"
#include "nn/parameter_store.h"

namespace conclave::cases {

inline constexpr int64_t kBatches = 8, kPieces = 4;

struct SyntheticModel {
  int64_t vocab = 37, hidden = 24, layers = 3, experts = 6, width = 10, query_groups = 2;
  bool tied = false;
};

/// Contributions that sum exactly in f32 in any order, or ordinary numbers.
enum class Numbers { kExact, kRounded };

/// What one piece of one micro-batch adds to the gradient of a parameter, element by element.
class Contribution {
 public:
  Contribution(const std::string& name, int64_t batch, int64_t piece, int64_t use, Numbers numbers)
      : key_(hash64(name, static_cast<uint64_t>((batch * kPieces + piece) * 4 + use))), numbers_(numbers) {}
  float at(int64_t element) const {
    const uint64_t bits = (key_ ^ static_cast<uint64_t>(element) * 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
    const auto number = static_cast<int64_t>(bits >> 40);  // 24 bits
    if (numbers_ == Numbers::kExact) return static_cast<float>(number % 17 - 8) / 4;
    return static_cast<float>(number) * 0x1p-23f - 1.0f;
  }

 private:
  uint64_t key_;
  Numbers numbers_;
};

/// [begin, end) of piece `part` of `length`, cut as equally as it goes: pieces may differ by one.
struct Share {
  int64_t begin, size;
  Share(int64_t length, const Slice& slice)
      : begin(length * slice.rank / slice.size), size(length * (slice.rank + 1) / slice.size - begin) {}
};

class SyntheticPart {
 public:
  SyntheticPart(const SyntheticModel& model, ProcessGroups& groups) : model_(model), groups_(groups) {
    const RankLayout& layout = groups.layout();
    dense_ = layout.dense(groups.rank());
    expert_ = layout.expert(groups.rank());
    stages_ = layout.sizes().pipeline;
  }

  std::vector<ParameterSpec> specs() const {
    std::vector<ParameterSpec> out;
    const bool first = dense_.pipeline == 0, last = dense_.pipeline == stages_ - 1;
    if (first || (last && model_.tied)) out.push_back(embedding());
    for (int64_t layer = 0; layer < model_.layers; ++layer) {
      if (layer * stages_ / model_.layers == dense_.pipeline) add_layer("layers." + std::to_string(layer) + ".", out);
    }
    if (last) out.push_back(norm("final_norm.weight"));
    if (last && !model_.tied) {
      out.push_back(rows("output.weight", {model_.vocab, model_.hidden}));
      out.back().role = ParameterRole::kOutput;
    }
    return out;
  }

  std::vector<BufferSpec> buffers() const {
    std::vector<BufferSpec> out;
    for (int64_t layer = 0; layer < model_.layers; ++layer) {
      if (layer * stages_ / model_.layers == dense_.pipeline)
        out.push_back({"layers." + std::to_string(layer) + ".expert_bias", {model_.experts}, DType::kF32});
    }
    return out;
  }

  void declare(ParameterStore& store) const {
    for (const ParameterSpec& spec : specs()) store.declare(spec);
    for (const BufferSpec& spec : buffers()) store.declare_buffer(spec);
  }

  /// Adds what this rank contributes to a step, micro-batch by micro-batch, and says when each gradient is complete.
  void add_gradients(ParameterStore& store, int64_t step, Numbers numbers) const {
    for (int64_t batch = 0; batch < kBatches; ++batch) {
      // Backward: the last declared first.
      for (size_t i = store.parameters().size(); i-- > 0;)
        add_batch(store, *store.parameters()[i], step, batch, numbers);
    }
  }

 private:
  SyntheticModel model_;
  ProcessGroups& groups_;
  DenseCoordinates dense_;
  ExpertCoordinates expert_;
  int64_t stages_ = 1;

  const ModelPart& part() const { return groups_.part(); }

  ParameterSpec embedding() const {
    ParameterSpec spec = rows("embedding.weight", {model_.vocab, model_.hidden});
    spec.role = ParameterRole::kEmbedding;
    if (!model_.tied) return spec;
    spec.gradient_uses = 2;
    spec.shared_by_stages = stages_ > 1;
    if (dense_.pipeline != 0) spec.replica = {1};
    return spec;
  }

  ParameterSpec norm(const std::string& name) const {
    ParameterSpec spec;
    spec.name = name;
    spec.shard = ShardSpec::whole({model_.hidden});
    spec.partial_over_tensor = part().sequence_parallel && part().tensor.size > 1;
    if (part().tensor.rank != 0) spec.replica = {1};
    spec.init = Initializer::ones();
    spec.role = ParameterRole::kNorm;
    spec.weight_decay = false;
    return spec;
  }

  ParameterSpec rows(const std::string& name, const std::vector<int64_t>& shape) const {
    const Share share(shape[0], part().tensor);
    ParameterSpec spec;
    spec.name = name;
    spec.shard = {shape, {Box{{share.begin, 0}, {share.size, shape[1]}}}};
    spec.local_shape = {share.size, shape[1]};
    spec.init = Initializer::normal(0.02);
    return spec;
  }

  // Query rows, then key and value rows of the group: with fewer groups than TP ranks several hold the latter.
  ParameterSpec qkv(const std::string& name) const {
    const int64_t h = model_.hidden, size = part().tensor.size, rank = part().tensor.rank;
    const int64_t queries = 4, wide = queries + 2, groups = model_.query_groups;
    ParameterSpec spec;
    spec.name = name;
    spec.shard.global_shape = {groups * wide, h};
    spec.init = Initializer::uniform(0.1);
    if (size <= groups) {
      const Share share(groups, part().tensor);
      spec.shard.boxes = {Box{{share.begin * wide, 0}, {share.size * wide, h}}};
      spec.local_shape = {share.size * wide, h};
      return spec;
    }
    const int64_t ranks = size / groups, group = rank / ranks, within = rank % ranks, own = queries / ranks;
    spec.shard.boxes = {Box{{group * wide + within * own, 0}, {own, h}}, Box{{group * wide + queries, 0}, {2, h}}};
    spec.local_shape = {own + 2, h};
    spec.replica = {0, static_cast<uint8_t>(within == 0 ? 0 : 1)};
    return spec;
  }

  ParameterSpec columns(const std::string& name, const std::vector<int64_t>& shape) const {
    const Share share(shape[1], part().tensor);
    ParameterSpec spec;
    spec.name = name;
    spec.shard = {shape, {Box{{0, share.begin}, {shape[0], share.size}}}};
    spec.local_shape = {shape[0], share.size};
    spec.init = Initializer::normal(0.05);
    return spec;
  }

  ParameterSpec experts(const std::string& name, bool first) const {
    const Share mine(model_.experts, part().expert), wide(model_.width, part().expert_tensor);
    const int64_t h = model_.hidden;
    ParameterSpec spec;
    spec.name = name;
    spec.grid = ParameterGrid::kExpert;
    spec.role = ParameterRole::kExpertMatrices;
    spec.init = Initializer::normal(0.03);
    if (first) {
      spec.shard.global_shape = {model_.experts, 2 * model_.width, h};
      spec.local_shape = {mine.size, 2 * wide.size, h};
      for (int64_t e = mine.begin; e < mine.begin + mine.size; ++e) {
        spec.shard.boxes.push_back({{e, wide.begin, 0}, {1, wide.size, h}});
        spec.shard.boxes.push_back({{e, model_.width + wide.begin, 0}, {1, wide.size, h}});
      }
      return spec;
    }
    spec.shard = {{model_.experts, h, model_.width}, {Box{{mine.begin, 0, wide.begin}, {mine.size, h, wide.size}}}};
    spec.local_shape = {mine.size, h, wide.size};
    return spec;
  }

  void add_layer(const std::string& name, std::vector<ParameterSpec>& out) const {
    out.push_back(norm(name + "norm.weight"));
    out.push_back(qkv(name + "qkv.weight"));
    out.push_back(columns(name + "proj.weight", {model_.hidden, 2 * model_.hidden}));
    ParameterSpec router = norm(name + "router.weight");
    router.shard = ShardSpec::whole({model_.experts, model_.hidden});
    router.init = Initializer::normal(0.02);
    router.role = ParameterRole::kRouter;
    router.weight_decay = true;
    out.push_back(router);
    out.push_back(experts(name + "experts.fc1.weight", true));
    out.push_back(experts(name + "experts.fc2.weight", false));
  }

  bool contributes(const ParameterSpec& spec, int64_t batch, int64_t piece) const {
    const RankLayout& layout = groups_.layout();
    if (spec.grid == ParameterGrid::kExpert)
      return (batch * kPieces + piece) % layout.expert_data_size() == expert_.data;
    const int64_t context = layout.sizes().context, tensor = layout.sizes().tensor;
    if (batch % layout.data_size() != dense_.data) return false;
    if (!spec.partial_over_tensor) return piece % context == dense_.context;
    return piece % (context * tensor) == dense_.context * tensor + dense_.tensor;
  }

  void add_batch(ParameterStore& store, const Parameter& parameter, int64_t step, int64_t batch,
                 Numbers numbers) const {
    const ParameterSpec& spec = parameter.spec;
    std::vector<int64_t> elements;
    for (int64_t i = 0; i < spec.shard.element_count(); ++i) elements.push_back(spec.shard.global_index(i));
    for (int use = 0; use < spec.gradient_uses; ++use) {
      // A tied embedding of two stages: the first looks up, the last makes the output.
      const bool here = !spec.shared_by_stages || use == (dense_.pipeline == 0 ? 0 : 1);
      float* gradient = store.gradient(parameter, use).data<float>();
      for (int64_t piece = 0; piece < kPieces && here; ++piece) {
        if (!contributes(spec, batch, piece)) continue;
        const Contribution contribution(spec.name, batch, piece, use, numbers);
        for (size_t i = 0; i < elements.size(); ++i) gradient[i] += contribution.at(elements[i] + 1000003 * step);
      }
      store.gradient_complete(parameter);
    }
  }
};

}  // namespace conclave::cases
