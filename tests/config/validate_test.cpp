#include "config/validate.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/text.h"
#include "config/contradictions.h"
#include "config/layout_contradictions.h"
#include "config/resolve.h"
#include "config/valid_words.h"

namespace conclave {
namespace {

std::string problems_of(const std::vector<std::string>& words, Command command = Command::kTrain) {
  try {
    checked_options(parse_command_line(command, words), command);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "none";
}

template <size_t N>
void expect_all(const ContradictionCase (&cases)[N]) {
  for (const ContradictionCase& c : cases) EXPECT_EQ(problems_of(valid_words(c.words)), c.text) << c.words;
}

TEST(Validate, TheBaseCaseIsValid) { EXPECT_EQ(problems_of(valid_words("")), "none"); }
TEST(Validate, Model) { expect_all(kModelCases); }
TEST(Validate, Experts) { expect_all(kExpertsCases); }
TEST(Validate, Layout) { expect_all(kLayoutCases); }
TEST(Validate, Memory) { expect_all(kMemoryCases); }
TEST(Validate, Training) { expect_all(kTrainingCases); }
TEST(Validate, Data) { expect_all(kDataCases); }
TEST(Validate, Pretended) { expect_all(kPretendedCases); }
TEST(Validate, Unavailable) { expect_all(kUnavailableCases); }

TEST(Validate, ManyRanksAndRefusedFeatures) {
  for (const LayoutContradictionCase& c : kLayoutContradictions) {
    ParsedOptions parsed =
        parse_command_line(Command::kTrain, valid_words(std::string("--global-batch-size 32 ") + c.words));
    parsed.options.parallel.world_size = c.world_size;
    EXPECT_EQ(join(option_contradictions(parsed, Command::kTrain), "\n"), c.texts) << c.words;
  }
}

TEST(Validate, CommandsOfOneProcessRefuseRanks) {
  EXPECT_EQ(
      problems_of({"--load", "a", "--save", "b", "--num-experts", "4", "--ranks-as-threads", "2"}, Command::kUpcycle),
      "--ranks-as-threads works with train, eval, generate and verify-layout; got 2 with upcycle; drop it");
}

TEST(Validate, CommandsOnModelsOfOthersSayWhatTheyNeed) {
  EXPECT_EQ(problems_of({"--input", "a", "--output", "b", "--from", "hf", "--to", "conclave"}, Command::kConvert),
            "none");
  EXPECT_EQ(problems_of({"--input", "a", "--output", "b", "--from", "hf"}, Command::kConvert),
            "`conclave convert` needs to know both forms; --from and --to are not both given; add --from hf --to "
            "conclave, or the other way");
  EXPECT_EQ(problems_of({"--output", "b", "--from", "hf", "--to", "conclave"}, Command::kConvert),
            "`conclave convert` takes one --input DIR; got 0");
  EXPECT_EQ(problems_of({"--input", "a", "--from", "hf", "--to", "conclave"}, Command::kConvert),
            "`conclave convert` needs --output; it is not given; add --output DIR");
  EXPECT_EQ(problems_of({"--input", "a", "--output", "b", "--from", "hf", "--to", "conclave", "--fused-experts"},
                        Command::kConvert),
            "--fused-experts, --hf-model-type and --hf-dtype are for --to hf; got --to conclave; leave them out");
  EXPECT_EQ(problems_of({"--load", "a", "--save", "b", "--num-experts", "4"}, Command::kUpcycle), "none");
  EXPECT_EQ(problems_of({"--save", "b", "--num-experts", "4"}, Command::kUpcycle),
            "`conclave upcycle` needs a dense model; neither --load nor --load-hf is given; add one");
  EXPECT_EQ(problems_of({"--load", "a", "--load-hf", "c", "--save", "b", "--num-experts", "4"}, Command::kUpcycle),
            "`conclave upcycle` takes one dense model; got --load and --load-hf; drop one");
  EXPECT_EQ(problems_of({"--load", "a", "--num-experts", "4"}, Command::kUpcycle),
            "`conclave upcycle` needs --save; it is not given; add --save DIR");
  EXPECT_EQ(problems_of({"--load", "a", "--save", "b"}, Command::kUpcycle),
            "`conclave upcycle` makes experts; --num-experts is not given; add --num-experts E");
  EXPECT_EQ(problems_of({"--hf", "a"}, Command::kParity),
            "`conclave parity` needs numbers to compare with; --reference is not given; add --reference FILE");
  EXPECT_EQ(problems_of({"--reference", "a"}, Command::kParity),
            "`conclave parity` needs a model; --hf is not given; add --hf DIR");
}

TEST(Validate, RequiredOptionsAreAskedForAtOnce) {
  const std::string text = problems_of({});
  EXPECT_TRUE(text.starts_with("9 problems in the options:")) << text;
  for (const char* key : {"--num-layers", "--hidden-size", "--num-attention-heads", "--seq-length", "--vocab-size",
                          "--micro-batch-size", "--train-iters", "--lr", "--data-path"}) {
    EXPECT_NE(text.find(key), std::string::npos) << key;
  }
}

TEST(Validate, ContradictionsOfDifferentRoomsAreReportedTogether) {
  const std::string text = problems_of(
      valid_words("--moe-router-topk 9 --min-lr 1 --global-batch-size 3 --swiglu --squared-relu --fp16 --bf16"));
  EXPECT_TRUE(text.starts_with("6 problems in the options:")) << text;
}

TEST(Validate, OffValuesOfUnavailableOptionsAreAccepted) {
  EXPECT_EQ(
      problems_of(valid_words("--tensor-model-parallel-size 1 --expert-tensor-parallel-size 1 "
                              "--context-parallel-size 1 --fp8-recipe delayed --mtp-num-layers 0 --loss-scale-window "
                              "1000 --kv-lora-rank 32 --no-fp16 --fp8-wgrad --muon-momentum 0.90 --nnodes 1 "
                              "--cpu-offloading-num-layers 0 --mtp-loss-scaling-factor 0.1")),
      "none");
}

TEST(Validate, OneProcessHasNothingToDoForLayoutsAndOverlap) {
  for (const char* dispatcher : {"allgather", "alltoall", "flex"}) {
    EXPECT_EQ(problems_of(
                  valid_words(std::string("--sequence-parallel --use-distributed-optimizer --overlap-grad-reduce "
                                          "--overlap-param-gather --tp-comm-overlap --overlap-moe-expert-parallel-comm "
                                          "--delay-wgrad-compute --overlap-p2p-comm --moe-token-dispatcher-type ") +
                              dispatcher)),
              "none")
        << dispatcher;
    EXPECT_EQ(
        problems_of(valid_words(std::string("--moe-shared-expert-intermediate-size 64 --moe-shared-expert-overlap "
                                            "--moe-token-dispatcher-type ") +
                                dispatcher)),
        "none")
        << dispatcher;
  }
  EXPECT_EQ(
      problems_of(valid_words("--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep "
                              "--num-layers-per-virtual-pipeline-stage 8 --pipeline-model-parallel-layout Et*4L")),
      problems_of(valid_words("--num-layers-per-virtual-pipeline-stage 8 --pipeline-model-parallel-layout Et*4L")));
  EXPECT_EQ(problems_of(valid_words("--num-layers-per-virtual-pipeline-stage 4")), "none");
  EXPECT_EQ(problems_of(valid_words("--num-layers-per-virtual-pipeline-stage 8")), "none");
  EXPECT_EQ(problems_of(valid_words("--pipeline-model-parallel-layout Et*4L")), "none");
}

TEST(Validate, SizesMayComeFromACheckpoint) {
  EXPECT_EQ(problems_of({"--use-checkpoint-args", "--load", "run", "--micro-batch-size", "1", "--train-iters", "1",
                         "--lr", "1", "--mock-data"}),
            "none");
  EXPECT_EQ(problems_of({"--load", "run", "--prompt", "x"}, Command::kGenerate), "none");
  EXPECT_EQ(problems_of({"--prompt", "x"}, Command::kGenerate),
            "`conclave generate` needs a model; --load is not given; add --load DIR");
  EXPECT_EQ(problems_of({"--load", "run", "--prompt", "x", "--greedy", "--top-k", "5"}, Command::kGenerate),
            "--greedy always takes the likeliest token; got --top-k 5 and --top-p 0; drop one side");
  EXPECT_EQ(problems_of({"run"}, Command::kInspect), "none");
}

TEST(Validate, Preprocess) {
  EXPECT_EQ(problems_of({"--input", "a.txt", "--output-prefix", "a", "--tokenizer-type", "ByteTokenizer"},
                        Command::kPreprocess),
            "none");
  EXPECT_TRUE(problems_of({}, Command::kPreprocess).starts_with("3 problems in the options:"));
}

TEST(Validate, ShapesWithoutDataNeedNoData) {
  EXPECT_EQ(problems_of(valid_words("--no-mock-data --device sim")), "none");
}

TEST(Validate, ResolvedOptionsAreStillValid) {
  for (const char* more :
       {"", "--recompute-activations", "--moe-layer-freq ([0]*1+[1]*3) --swiglu --bf16", "--group-query-attention",
        "--use-rotary-position-embeddings --no-position-embedding", "--external-cuda-graph --cuda-graph-scope attn",
        "--moe-enable-deepep --moe-token-dispatcher-type flex", "--train-iters 0 --train-samples 100",
        "--moe-expert-capacity-factor -1", "--sequence-parallel"}) {
    ParsedOptions parsed = parse_command_line(Command::kTrain, valid_words(more));
    parsed.options = checked_options(parsed, Command::kTrain);
    parsed.given.clear();
    EXPECT_EQ(option_contradictions(parsed, Command::kTrain), std::vector<std::string>{}) << more;
    EXPECT_EQ(unavailable_options(parsed), std::vector<std::string>{}) << more;
  }
}

TEST(Resolve, DerivedValues) {
  const auto derive = [](const char* more) {
    return checked_options(parse_command_line(Command::kTrain, valid_words(more)), Command::kTrain);
  };
  Options options = derive("");
  EXPECT_EQ(options.model.ffn_hidden_size, 256);
  EXPECT_EQ(options.model.kv_channels, 16);
  EXPECT_EQ(options.model.num_query_groups, 4);
  EXPECT_EQ(options.model.max_position_embeddings, 32);
  EXPECT_EQ(options.moe.moe_ffn_hidden_size, 256);
  EXPECT_EQ(options.training.global_batch_size, 2);
  EXPECT_EQ(options.training.eval_global_batch_size, 2);
  EXPECT_EQ(options.parallel.expert_tensor_parallel_size, 1);
  EXPECT_FALSE(options.precision.accumulate_allreduce_grads_in_fp32);
  EXPECT_EQ(derive("--swiglu --hidden-size 4096 --num-experts 0").model.ffn_hidden_size, 10880);
  EXPECT_EQ(derive("--num-experts 0").moe.moe_ffn_hidden_size, 0);
  EXPECT_EQ(derive("--group-query-attention --num-query-groups 2").model.num_query_groups, 2);
  EXPECT_TRUE(derive("--bf16").precision.accumulate_allreduce_grads_in_fp32);
  EXPECT_FALSE(derive("--sequence-parallel").parallel.sequence_parallel);
  EXPECT_EQ(derive("--use-rotary-position-embeddings").model.position_embedding_type, "rope");
  EXPECT_EQ(derive("--moe-expert-capacity-factor -1").moe.moe_expert_capacity_factor, std::nullopt);
  EXPECT_EQ(derive("--moe-expert-capacity-factor 0").moe.moe_expert_capacity_factor, 0.0);
  EXPECT_EQ(derive("--recompute-activations").memory.recompute_modules, std::vector<std::string>{"core_attn"});
  EXPECT_EQ(derive("--external-cuda-graph --cuda-graph-scope attn").memory.cuda_graph_impl, "transformer_engine");
  EXPECT_EQ(derive("--cuda-graph-impl local --cuda-graph-modules full").memory.cuda_graph_modules.size(), 0u);
}

TEST(Resolve, LayerPatterns) {
  const auto layers = [](const char* more) { return parse_command_line(Command::kTrain, valid_words(more)).options; };
  using Pattern = std::vector<bool>;
  EXPECT_EQ(moe_layers(layers("--moe-layer-freq 2")), (Pattern{true, false, true, false}));
  EXPECT_EQ(moe_layers(layers("--moe-layer-freq [0,1,1,1]")), (Pattern{false, true, true, true}));
  EXPECT_EQ(moe_layers(layers("--num-experts 0")), Pattern(4));
  EXPECT_EQ(windowed_layers(layers("")), Pattern(4));
  EXPECT_EQ(windowed_layers(layers("--window-size 8,0")), Pattern(4, true));
  EXPECT_EQ(windowed_layers(layers("--window-size 8,0 --window-attn-skip-freq 2")),
            (Pattern{true, false, true, false}));
}

TEST(Summary, InactiveOptionsAreListedOnce) {
  EXPECT_EQ(inactive_summary(parse_command_line(
                Command::kTrain, {"--manual-gc", "--tp-comm-overlap", "--manual-gc-interval", "10", "--swiglu"})),
            "not active, results are the same: --manual-gc, --tp-comm-overlap, --manual-gc-interval");
  EXPECT_EQ(inactive_summary(parse_command_line(Command::kTrain, {"--swiglu"})), "");
}

TEST(Warnings, WhatIsLegalButProbablyNotMeant) {
  const auto warnings = [](const char* more) {
    return option_warnings(checked_options(parse_command_line(Command::kTrain, valid_words(more)), Command::kTrain));
  };
  EXPECT_EQ(warnings("--moe-aux-loss-coeff 0.01"), std::vector<std::string>{});
  EXPECT_EQ(warnings("--moe-aux-loss-coeff 0.01 --num-experts 64"),
            std::vector<std::string>{"64 experts without --moe-router-dtype; fp32 is more accurate"});
  EXPECT_EQ(warnings("").size(), 1u);
}

}  // namespace
}  // namespace conclave
