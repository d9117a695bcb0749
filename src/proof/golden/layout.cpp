// Golden cases of process groups.
#include <map>
#include <optional>

#include "base/hash.h"
#include "layout/rank_layout.h"
#include "proof/golden/case_files.h"
#include "proof/golden/golden.h"

namespace conclave::proof {
namespace {

LayoutSizes sizes_of(const Json& golden) {
  LayoutSizes sizes;
  sizes.world = golden.at("world_size").as_int();
  sizes.tensor = golden.at("tensor_model_parallel_size").as_int();
  sizes.context = golden.at("context_parallel_size").as_int();
  sizes.pipeline = golden.at("pipeline_model_parallel_size").as_int();
  sizes.expert = golden.at("expert_model_parallel_size").as_int();
  sizes.expert_tensor = int_or(golden, "expert_tensor_parallel_size", 0);
  sizes.virtual_pipeline = int_or(golden, "virtual_pipeline_model_parallel_size", 1);
  sizes.optimizer_instances = int_or(golden, "num_distributed_optimizer_instances", 1);
  const Json* levels = golden.find("hierarchical_context_parallel_sizes");
  if (levels != nullptr && !levels->is_null()) sizes.hierarchical_context = ints(*levels);
  sizes.order = golden.at("order").as_string();
  return sizes;
}

const std::map<std::string, GroupKind>& group_kinds() {
  using enum GroupKind;
  static const std::map<std::string, GroupKind> kKinds = {{"tp", kTensor},
                                                          {"cp", kContext},
                                                          {"dp", kData},
                                                          {"dp_cp", kDataContext},
                                                          {"pp", kPipeline},
                                                          {"mp", kTensorPipeline},
                                                          {"tp_dp", kTensorData},
                                                          {"tp_cp", kTensorContext},
                                                          {"tp_dp_cp", kTensorDataContext},
                                                          {"embd", kEmbedding},
                                                          {"pos_embd", kPositionEmbedding},
                                                          {"ep", kExpert},
                                                          {"ep_tp", kExpertTensor},
                                                          {"tp_ep_mp", kExpertTensorExpert},
                                                          {"tp_ep_pp", kExpertTensorExpertPipeline},
                                                          {"ep_dp", kExpertData},
                                                          {"intra_dp_cp", kDataContextOfInstance},
                                                          {"intra_ep_dp", kExpertDataOfInstance},
                                                          {"inter_ep_dp", kExpertDataAcrossInstances},
                                                          {"intra_dist_opt_instance", kInstance}};
  return kKinds;
}

GroupKind kind_of(const std::string& name) {
  const auto kind = group_kinds().find(name);
  if (kind == group_kinds().end()) throw NotBuilt(fmt::format("groups '{}'", name));
  return kind->second;
}

std::vector<std::vector<int64_t>> all_groups(const RankLayout& layout, const std::string& name) {
  std::vector<std::vector<int64_t>> groups;
  if (name.starts_with("hcp_")) {
    const int64_t level = name.back() - '0';
    if (level < 0 || level >= layout.context_level_count()) throw Mismatch("there is no level " + name);
    for (int64_t i = 0; i < layout.context_level_groups(level); ++i) {
      groups.push_back(layout.context_level_group(level, i));
    }
    return groups;
  }
  const GroupKind kind = kind_of(name);
  for (int64_t i = 0; i < layout.group_count(kind); ++i) groups.push_back(layout.group(kind, i));
  return groups;
}

// place() must say of every rank what group() says of every group.
void expect_places(const RankLayout& layout, const std::string& name, const std::vector<std::vector<int64_t>>& groups) {
  if (name.starts_with("hcp_")) return;
  for (size_t i = 0; i < groups.size(); ++i) {
    for (size_t j = 0; j < groups[i].size(); ++j) {
      const auto place = layout.place(kind_of(name), groups[i][j]);
      if (!place) throw Mismatch(fmt::format("{}: rank {} is in no group", name, groups[i][j]));
      expect_equal(name + " index", place->index, static_cast<int64_t>(i));
      expect_equal(name + " position", place->position, static_cast<int64_t>(j));
    }
  }
}

void expect_sizes(const RankLayout& layout, const Json& golden) {
  expect_equal("data_parallel_size", layout.data_size(), golden.at("data_parallel_size").as_int());
  expect_equal("expert_data_parallel_size", layout.expert_data_size(), golden.at("expert_data_parallel_size").as_int());
}

void check_groups(const Json& golden, const std::string&) {
  const RankLayout layout(sizes_of(golden));
  if (must_be_refused(golden)) return;
  expect_sizes(layout, golden);
  for (const auto& [name, wanted] : golden.at("groups").as_object()) {
    const auto groups = all_groups(layout, name);
    expect_equal(name + " groups", groups.size(), wanted.size());
    for (size_t i = 0; i < groups.size(); ++i)
      expect_same(fmt::format("{}[{}]", name, i), groups[i], ints(wanted.at(i)));
    expect_places(layout, name, groups);
  }
}

std::string text_of(const std::vector<std::vector<int64_t>>& groups) {
  std::string text;
  for (const auto& group : groups) {
    text += text.empty() ? "[[" : ",[";
    for (size_t i = 0; i < group.size(); ++i) text += fmt::format("{}{}", i > 0 ? "," : "", group[i]);
    text += "]";
  }
  text += "]";
  return text;
}

void check_large(const Json& golden, const std::string&) {
  const RankLayout layout(sizes_of(golden));
  if (must_be_refused(golden)) return;
  expect_sizes(layout, golden);
  for (const auto& [name, digest] : golden.at("digest").as_object()) {
    const auto groups = all_groups(layout, name);
    expect_equal(name + " group_count", static_cast<int64_t>(groups.size()),
                 golden.at("group_count").at(name).as_int());
    expect_equal(name + " group_size", static_cast<int64_t>(groups[0].size()),
                 golden.at("group_size").at(name).as_int());
    expect_equal(name + " digest", sha256_hex(text_of(groups)), digest.as_string());
  }
  for (const Json& sample : golden.at("samples").as_array()) {
    const int64_t rank = sample.at("rank").as_int();
    for (const auto& [name, wanted] : sample.at("member_of").as_object()) {
      const std::string what = fmt::format("rank {} in {} ", rank, name);
      const auto place = layout.place(kind_of(name), rank);
      if (!place) throw Mismatch(what + "has no place");
      expect_equal(what + "index", place->index, wanted.at("index").as_int());
      expect_equal(what + "position", place->position, wanted.at("position").as_int());
      const auto ranks = layout.group(kind_of(name), place->index);
      if (const Json* list = wanted.find("ranks")) expect_same(what + "ranks", ranks, ints(*list));
      if (const Json* first = wanted.find("first")) expect_equal(what + "first", ranks.front(), first->as_int());
      if (const Json* last = wanted.find("last")) expect_equal(what + "last", ranks.back(), last->as_int());
    }
  }
}

void check_embedding(const Json& golden, const std::string&) {
  const std::vector<int64_t> pipeline = ints(golden.at("pipeline_ranks"));
  const Json& layout = golden.at("pipeline_model_parallel_layout");
  const Json& mtp = golden.at("mtp_num_layers");
  const auto ranks = embedding_ranks(pipeline, !golden.at("untie_embeddings_and_output_weights").as_bool(),
                                     mtp.is_null() ? std::nullopt : std::optional<int64_t>(mtp.as_int()),
                                     layout.is_null() ? std::nullopt : std::optional<std::string>(layout.as_string()));
  expect_same("embedding_ranks", ranks, ints(golden.at("embedding_ranks")));
  expect_same("default_embedding_ranks", embedding_ranks(pipeline, true, std::nullopt, std::nullopt),
              ints(golden.at("default_embedding_ranks")));
  expect_same("position_embedding_ranks", embedding_ranks(pipeline, false, std::nullopt, std::nullopt),
              ints(golden.at("position_embedding_ranks")));
}

}  // namespace

std::vector<GoldenReport> golden_layout(const std::string& folder) {
  const std::map<std::string, CaseFunction> kinds = {
      {"rank_groups", check_groups}, {"rank_groups_large", check_large}, {"embedding_ranks", check_embedding}};
  return run_case_files(folder, "layout", kinds, Reports::kWholeFolder);
}

}  // namespace conclave::proof
