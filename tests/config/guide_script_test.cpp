// The argument arrays of the guide's Mixtral script, word for word; only sizes are cut so that they fit one process.
#include <gtest/gtest.h>

#include <map>

#include "base/text.h"
#include "config/validate.h"

namespace conclave {
namespace {

constexpr const char* kModelArgs = R"(
    --disable-bias-linear
    --seq-length 4096
    --max-position-embeddings 32768
    --num-layers 32
    --hidden-size 4096
    --ffn-hidden-size 14336
    --num-attention-heads 32
    --init-method-std 0.01
    --attention-dropout 0.0
    --hidden-dropout 0.0
    --normalization RMSNorm
    --position-embedding-type rope
    --swiglu
    --untie-embeddings-and-output-weights
    --group-query-attention
    --num-query-groups 8
    --no-masked-softmax-fusion
    --no-position-embedding
)";
constexpr const char* kMoeArgs = R"(
    --num-experts 8
    --expert-model-parallel-size 8
    --moe-router-load-balancing-type aux_loss
    --moe-router-topk 2
    --moe-aux-loss-coeff 1e-2
    --moe-grouped-gemm
    --moe-permute-fusion
    --moe-token-dispatcher-type alltoall
)";
constexpr const char* kDataArgs = R"(
    --tokenizer-type Llama2Tokenizer
    --tokenizer-model TOKENIZER_MODEL
    --data-path DATA_PATH
    --split 99990,8,2
)";
constexpr const char* kTrainingArgs = R"(
    --micro-batch-size 1
    --global-batch-size 128
    --lr 1e-4
    --train-iters 500000
    --lr-decay-iters 320000
    --lr-decay-style cosine
    --min-lr 1.0e-5
    --weight-decay 0.1
    --lr-warmup-iters 500
    --clip-grad 1.0
    --bf16
    --overlap-grad-reduce
    --overlap-param-gather
)";
constexpr const char* kModelParallelArgs = R"(
    --tensor-model-parallel-size 1
    --pipeline-model-parallel-size 4
    --num-layers-per-virtual-pipeline-stage 8
    --sequence-parallel
    --use-distributed-optimizer
)";
constexpr const char* kLoggingArgs = R"(
    --log-interval 1
    --save-interval 10000
    --eval-interval 1000
    --eval-iters 10
    --save CHECKPOINT_PATH
    --load CHECKPOINT_PATH
    --tensorboard-dir CHECKPOINT_PATH/tensorboard
    --ckpt-format torch_dist
    --auto-detect-ckpt-format
)";

std::vector<std::string> script() {
  std::vector<std::string> words;
  for (const char* array : {kModelArgs, kMoeArgs, kDataArgs, kTrainingArgs, kModelParallelArgs, kLoggingArgs}) {
    for (std::string& word : split_words(array)) words.push_back(std::move(word));
  }
  return words;
}

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
  const auto words = cut(script(), {{"--seq-length", "64"},
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
  ParsedOptions parsed = parse_command_line(Command::kTrain, script());
  parsed.options.parallel.world_size = 32;
  EXPECT_EQ(option_contradictions(parsed, Command::kTrain), std::vector<std::string>{});
  EXPECT_EQ(unavailable_options(parsed), std::vector<std::string>{});
}

TEST(GuideScript, FlagsOfTheGuidesTipsAreKnown) {
  const auto words = cut(script(), {{"--expert-model-parallel-size", "1"},
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
