// The chunks of a model declare the parameters of the whole, each once, and say which table two stages share.
#include <gtest/gtest.h>

#include <map>

#include "config/parse.h"
#include "config/resolve.h"
#include "models/gpt.h"
#include "nn/given_store.h"

namespace conclave {
namespace {

using Words = std::vector<std::string>;

ModelSpec spec_of(const Words& more) {
  Words words = {"--num-layers",
                 "4",
                 "--hidden-size",
                 "16",
                 "--num-attention-heads",
                 "2",
                 "--seq-length",
                 "8",
                 "--num-experts",
                 "4",
                 "--moe-layer-freq",
                 "[0,1,0,1]",
                 "--swiglu",
                 "--moe-grouped-gemm",
                 "--disable-bias-linear"};
  words.insert(words.end(), more.begin(), more.end());
  return make_model_spec(resolved(parse_command_line(Command::kTrain, words).options), 32);
}

std::map<std::string, ParameterSpec> declared(const ModelSpec& spec, const ChunkRange& range) {
  const auto device = make_device("sim");
  GivenStore store(*device, DType::kF32);
  const GptChunk chunk(store, *device, spec, range, {});
  std::map<std::string, ParameterSpec> out;
  for (const Parameter* parameter : store.parameters()) out[parameter->spec.name] = parameter->spec;
  return out;
}

TEST(GptChunk, DeclaresItsPartUnderGlobalNames) {
  for (const Words& words : {Words{"--untie-embeddings-and-output-weights"}, Words{}}) {
    const ModelSpec spec = spec_of(words);
    std::map<std::string, ParameterSpec> whole = declared(spec, {0, 4, true, true}), together;
    for (const ChunkRange& range :
         {ChunkRange{0, 1, true, false}, ChunkRange{1, 3, false, false}, ChunkRange{3, 4, false, true}}) {
      for (const auto& [name, parameter] : declared(spec, range)) {
        EXPECT_TRUE(whole.contains(name)) << name;
        EXPECT_TRUE(!together.contains(name) || parameter.shared_by_stages) << name;
        together[name] = parameter;
      }
    }
    EXPECT_EQ(whole.size(), together.size());
    EXPECT_TRUE(whole.contains("decoder.layers.3.mlp.router.weight"));
  }
}

TEST(GptChunk, ATiedTableIsSharedByFirstAndLastStage) {
  const std::string name = "embedding.word_embeddings.weight";
  const ModelSpec tied = spec_of({});
  const ParameterSpec whole = declared(tied, {0, 4, true, true}).at(name);
  EXPECT_FALSE(whole.shared_by_stages);
  EXPECT_EQ(whole.gradient_uses, 2);
  const ParameterSpec first = declared(tied, {0, 2, true, false}).at(name);
  EXPECT_TRUE(first.shared_by_stages);
  EXPECT_TRUE(first.replica.empty());
  EXPECT_EQ(first.gradient_uses, 1);
  const std::map<std::string, ParameterSpec> end = declared(tied, {2, 4, false, true});
  EXPECT_FALSE(end.contains("output_layer.weight"));
  const ParameterSpec& last = end.at(name);
  EXPECT_TRUE(last.shared_by_stages);
  EXPECT_EQ(last.replica, std::vector<uint8_t>{1});
  EXPECT_EQ(last.gradient_uses, 1);
  EXPECT_EQ(last.shard.global_shape, whole.shard.global_shape);
  EXPECT_EQ(last.init.std, whole.init.std);
}

TEST(GptChunk, PredictionsHaveATableOfTheirOwnOnTheLastStage) {
  const std::string name = "embedding.word_embeddings.weight";
  const ModelSpec spec = spec_of({"--untie-embeddings-and-output-weights", "--mtp-num-layers", "1"});
  const std::map<std::string, ParameterSpec> end = declared(spec, {2, 4, false, true});
  EXPECT_TRUE(end.contains("output_layer.weight"));
  EXPECT_TRUE(end.at(name).shared_by_stages);
  EXPECT_EQ(end.at(name).replica, std::vector<uint8_t>{1});
  EXPECT_TRUE(declared(spec, {0, 2, true, false}).at(name).shared_by_stages);
  EXPECT_FALSE(
      declared(spec_of({"--untie-embeddings-and-output-weights"}), {0, 2, true, false}).at(name).shared_by_stages);
}

}  // namespace
}  // namespace conclave
