// Memory of a rank falls as the guide's table says.
#include "proof/bench/layout_memory.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace conclave::proof {
namespace {

ParsedOptions model(const std::string& more) {
  return parse_command_line(
      Command::kBench,
      split_words("memory --num-layers 16 --hidden-size 256 --num-attention-heads 16 --seq-length 512 "
                  "--ffn-hidden-size 1024 --swiglu --disable-bias-linear --normalization RMSNorm --bf16 "
                  "--position-embedding-type rope --untie-embeddings-and-output-weights --vocab-size 1024 " +
                  more));
}

TEST(LayoutMemory, OfADenseModelIsTheGuidesTable) {
  const std::vector<LayoutMemoryRow> rows = bench_layout_memory(model(""));
  EXPECT_EQ(rows.size(), 15u);
  for (const LayoutMemoryRow& row : rows) {
    SCOPED_TRACE(row.strategy + " " + std::to_string(row.ranks));
    EXPECT_EQ(row.obstacle, "");
    const double share = 1.0 / static_cast<double>(row.ranks);
    const auto expected = [&](const std::string& guide) { return guide == "1/N" ? share : 1.0; };
    EXPECT_NEAR(row.weights, expected(row.guide_weights), 0.1 * expected(row.guide_weights));
    EXPECT_NEAR(row.optimizer, share, 0.1 * share);
    if (row.strategy == "PP, 2 chunks") {
      EXPECT_GT(row.activations, 1.1);
    } else {
      EXPECT_NEAR(row.activations, expected(row.guide_activations), 0.12 * expected(row.guide_activations));
    }
  }
}

TEST(LayoutMemory, ExpertsShrinkWithTheirRanks) {
  const std::vector<LayoutMemoryRow> rows =
      bench_layout_memory(model("--num-experts 16 --moe-ffn-hidden-size 512 --moe-router-topk 2"));
  EXPECT_EQ(rows.size(), 18u);
  for (const LayoutMemoryRow& row : rows) {
    SCOPED_TRACE(row.strategy + " " + std::to_string(row.ranks));
    EXPECT_EQ(row.obstacle, "");
    const double share = 1.0 / static_cast<double>(row.ranks);
    EXPECT_NEAR(row.optimizer, share, 0.1 * share);
    if (row.strategy != "EP") continue;
    EXPECT_GT(row.weights, share);  // attention and tables are whole
    EXPECT_LT(row.weights, share + 0.15);
    EXPECT_NEAR(row.activations, 1, 0.25);
  }
  EXPECT_NE(layout_memory_table(rows).find("1/N in MoE layers"), std::string::npos);
  EXPECT_EQ(layout_memory_json(rows).as_array().size(), rows.size());
}

TEST(LayoutMemory, SaysWhatCannotBe) {
  const std::vector<LayoutMemoryRow> rows =
      bench_layout_memory(model("--num-experts 6 --moe-ffn-hidden-size 512 --moe-router-topk 2"));
  int obstacles = 0;
  for (const LayoutMemoryRow& row : rows) obstacles += row.obstacle.empty() ? 0 : 1;
  EXPECT_EQ(obstacles, 2);  // EP 4 and 8
  EXPECT_NE(layout_memory_table(rows).find("--num-experts must be divisible"), std::string::npos);
}

}  // namespace
}  // namespace conclave::proof
