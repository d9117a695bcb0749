#include "spec/flops.h"

#include <gtest/gtest.h>

#include <vector>

#include "spec/vocabulary.h"

namespace conclave {
namespace {

TEST(CausalPairs, CountedOneByOne) {
  for (const int64_t length : {0, 1, 2, 7, 16}) {
    for (const int64_t window : {0, 1, 3, 16, 40}) {
      double pairs = 0;
      for (int64_t query = 0; query < length; ++query) {
        for (int64_t key = 0; key <= query; ++key) pairs += window == 0 || query - key < window ? 1 : 0;
      }
      EXPECT_EQ(causal_pairs(length, window), pairs) << length << " " << window;
    }
  }
}

ModelSpec tiny_spec() {
  LayerSpec dense;
  dense.attention.heads = 4;
  dense.attention.groups = 2;
  dense.attention.head_dim = 3;
  dense.mlp.width = 20;
  LayerSpec sparse = dense;
  sparse.attention.window = 2;
  sparse.ffn = FfnKind::kMoe;
  sparse.moe.router.experts = 8;
  sparse.moe.router.topk = 2;
  sparse.moe.expert.width = 5;
  sparse.moe.expert.gated = true;
  sparse.moe.shared_width = 6;
  sparse.moe.shared_gate = true;
  ModelSpec spec;
  spec.vocab = 11;
  spec.hidden = 10;
  spec.layers = {dense, sparse};
  return spec;
}

TEST(ExactFlops, EveryProductByHand) {
  const std::vector<int64_t> documents = {3, 4};
  const double tokens = 7;
  const double qkv = 10 * (12 + 2 * 6), projection = 12 * 10;
  const double dense = qkv + projection + 10 * 20 * 2;
  const double sparse = qkv + projection + 10 * 8 + 2 * (10 * 5 * 3) + 10 * 6 * 3 + 10;
  const double pairs_full = 6 + 10, pairs_window = (1 + 2 + 2) + (1 + 2 + 2 + 2);
  const double wanted = 6 * (tokens * (dense + sparse + 10 * 11) + 2 * 12 * (pairs_full + pairs_window));
  EXPECT_EQ(exact_step_flops(tiny_spec(), documents), wanted);
}

TEST(ExactFlops, ShorterDocumentsCostLessAttention) {
  const std::vector<int64_t> one = {64}, two = {32, 32};
  EXPECT_LT(exact_step_flops(tiny_spec(), two), exact_step_flops(tiny_spec(), one));
}

TEST(CustomaryFlops, GrowsLinearlyInTheBatch) {
  Options options;
  options.model.num_layers = 2;
  options.model.hidden_size = 8;
  options.model.ffn_hidden_size = 16;
  options.model.num_attention_heads = 2;
  options.model.kv_channels = 4;
  options.model.num_query_groups = 2;
  options.model.seq_length = 16;
  StepTokens step;
  step.sequences = 3;
  const double one = customary_step_flops(options, 32, step);
  step.sequences = 6;
  EXPECT_EQ(customary_step_flops(options, 32, step), 2 * one);
  // Per token: 2 layers of 8*(8+16)+8*8 + 8*16*2, logits 8*32; attention 6*3*256*8 per layer.
  EXPECT_EQ(one, 6.0 * 48 * (2 * (8 * 24 + 64 + 256) + 256) + 6.0 * 3 * 256 * 8 * 2);
}

TEST(Vocabulary, PadsUpwards) {
  EXPECT_EQ(padded_vocab_size(100, 128, 1), 128);
  EXPECT_EQ(padded_vocab_size(128, 128, 1), 128);
  EXPECT_EQ(padded_vocab_size(129, 128, 2), 256);
  EXPECT_EQ(padded_vocab_size(100, 1, 1), 100);
}

}  // namespace
}  // namespace conclave
