// The guide's Mixtral script; sizes are cut where it must fit one process.
#include <gtest/gtest.h>

#include <map>

#include "base/text.h"
#include "config/guide_script.h"
#include "config/validate.h"

namespace conclave {
namespace {

// The value after a name is replaced; every name must be there.
std::vector<std::string> cut(std::vector<std::string> words, std::map<std::string, std::string> sizes) {
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const auto size = sizes.find(words[i]);
    if (size == sizes.end()) continue;
    words[i + 1] = size->second;
    sizes.erase(size);
  }
  EXPECT_TRUE(sizes.empty());
  return words;
}

TEST(GuideScript, SmallInOneProcessItIsValid) {
  const auto words = cut(guide_script(), {{"--seq-length", "64"},
                                          {"--max-position-embeddings", "64"},
                                          {"--num-layers", "2"},
                                          {"--hidden-size", "64"},
                                          {"--ffn-hidden-size", "128"},
                                          {"--num-attention-heads", "8"},
                                          {"--global-batch-size", "4"},
                                          {"--expert-model-parallel-size", "1"},
                                          {"--pipeline-model-parallel-size", "1"},
                                          {"--num-layers-per-virtual-pipeline-stage", "2"}});
  const ParsedOptions parsed = parse_command_line(Command::kTrain, words);
  const Options options = checked_options(parsed, Command::kTrain);
  EXPECT_TRUE(option_warnings(options).empty());
  EXPECT_TRUE(parsed.positionals.empty());
  EXPECT_FALSE(options.model.add_bias_linear);
  EXPECT_EQ(options.model.norm_epsilon, 1e-5);
  EXPECT_EQ(options.model.position_embedding_type, "rope");
  EXPECT_EQ(options.model.num_query_groups, 8);
  EXPECT_EQ(options.moe.moe_ffn_hidden_size, 128);
  EXPECT_EQ(options.moe.moe_aux_loss_coeff, std::vector<double>{0.01});
  EXPECT_EQ(options.optimizer.min_lr, 1e-5);
  EXPECT_EQ(options.training.global_batch_size, 4);
  EXPECT_TRUE(options.precision.accumulate_allreduce_grads_in_fp32);
  EXPECT_EQ(options.data.split, "99990,8,2");
  EXPECT_EQ(inactive_summary(parsed),
            "not active, results are the same: --no-masked-softmax-fusion, --moe-grouped-gemm, --moe-permute-fusion, "
            "--ckpt-format, --auto-detect-ckpt-format");
}

TEST(GuideScript, AtFullSizeItIsValid) {
  ParsedOptions parsed = parse_command_line(Command::kTrain, guide_script());
  parsed.options.parallel.world_size = 32;
  EXPECT_EQ(option_contradictions(parsed, Command::kTrain), std::vector<std::string>{});
  EXPECT_EQ(unavailable_options(parsed), std::vector<std::string>{});
}

TEST(GuideScript, FlagsOfTheGuidesTipsAreKnown) {
  const auto words = cut(guide_script(), {{"--expert-model-parallel-size", "1"},
                                          {"--pipeline-model-parallel-size", "1"},
                                          {"--num-layers-per-virtual-pipeline-stage", "32"}});
  auto with = [&](const std::string& more) {
    auto all = words;
    for (std::string& word : split_words(more)) all.push_back(std::move(word));
    const ParsedOptions parsed = parse_command_line(Command::kTrain, all);
    auto texts = option_contradictions(parsed, Command::kTrain);
    for (std::string& text : unavailable_options(parsed)) texts.push_back(std::move(text));
    return texts;
  };
  const std::vector<std::string> none;
  EXPECT_EQ(
      with("--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep --moe-grouped-gemm "
           "--moe-router-fusion --moe-permute-fusion --cross-entropy-loss-fusion --cross-entropy-fusion-impl te "
           "--use-distributed-optimizer --overlap-param-gather --overlap-grad-reduce --tp-comm-overlap --manual-gc "
           "--manual-gc-interval 10"),
      none);
  EXPECT_EQ(with("--overlap-moe-expert-parallel-comm --delay-wgrad-compute --overlap-p2p-comm"), none);
  EXPECT_EQ(with("--te-rng-track --external-cuda-graph --cuda-graph-scope attn"), none);
  EXPECT_EQ(with("--moe-token-dispatcher-type flex --moe-enable-deepep"), none);
  EXPECT_EQ(with("--recompute-granularity selective --recompute-modules layernorm moe_act"), none);
}

}  // namespace
}  // namespace conclave
