#include "proof/ngram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/error.h"

namespace conclave::proof {
namespace {

std::vector<int32_t> pseudo_text(int64_t size, uint32_t seed) {
  std::vector<int32_t> out(static_cast<size_t>(size));
  int32_t last = 0;
  for (int32_t& token : out) {
    seed = seed * 1664525u + 1013904223u;
    // Mostly the successor of the last token, else anything of six.
    last = (seed >> 28) < 12 ? (last + 1) % 6 : static_cast<int32_t>((seed >> 16) % 6);
    token = last;
  }
  return out;
}

TEST(Ngram, ProbabilitiesOfEveryContextSumToOne) {
  for (int order = 1; order <= 3; ++order) {
    NgramModel model(7, order);
    model.count(pseudo_text(300, 1));
    model.finish();
    for (int32_t a = 0; a < 7; ++a) {
      for (int32_t b = 0; b < 7; ++b) {
        double sum = 0;
        for (int32_t token = 0; token < 7; ++token) {
          const double p = model.probability(std::vector<int32_t>{a, b}, token);
          EXPECT_GT(p, 0) << "unseen tokens keep some mass";
          sum += p;
        }
        EXPECT_NEAR(sum, 1.0, 1e-12) << order << ": " << a << " " << b;
      }
    }
  }
}

// "0 1 0 1 0 2" by hand. Bigrams 01 x2, 10 x2, 02 x1: n1 = 1, n2 = 2, discount 1/5. Continuation counts 0: 1, 1: 1, 2:
// 1, of which all are ones: discount 1. So P1 = (0 + 1 * 3 * 1/4) / 3 = 1/4 and P(1|0) = (2 - 1/5 + 1/5 * 2 * 1/4) / 3.
TEST(Ngram, ByHand) {
  NgramModel model(4, 2);
  model.count(std::vector<int32_t>{0, 1, 0, 1, 0, 2});
  model.finish();
  EXPECT_NEAR(model.probability(std::vector<int32_t>{0}, 1), (2 - 0.2 + 0.2 * 2 * 0.25) / 3, 1e-15);
  EXPECT_NEAR(model.probability(std::vector<int32_t>{0}, 3), 0.2 * 2 * 0.25 / 3, 1e-15);
  EXPECT_NEAR(model.probability({}, 1), 0.25, 1e-15);
  EXPECT_NEAR(model.probability(std::vector<int32_t>{3}, 1), 0.25, 1e-15) << "an unseen context says nothing";
  const std::vector<int32_t> text = {0, 1};
  EXPECT_NEAR(model.loss_sum(text), -std::log(0.25) - std::log((2 - 0.2 + 0.2 * 2 * 0.25) / 3), 1e-12);
}

TEST(Ngram, MoreContextHelpsOnTextThatHasSome) {
  const std::vector<int32_t> train = pseudo_text(20000, 1), held_out = pseudo_text(5000, 99);
  std::vector<double> losses;
  for (int order = 1; order <= 2; ++order) {
    NgramModel model(6, order);
    model.count(train);
    model.finish();
    losses.push_back(model.loss_sum(held_out) / static_cast<double>(held_out.size()));
  }
  EXPECT_LT(losses[1], losses[0] - 0.1);
  EXPECT_LT(losses[0], std::log(6.0) + 1e-2);
}

TEST(Ngram, RefusesWhatItCannotDo) {
  EXPECT_THROW(NgramModel(10, 4), UserError);
  EXPECT_THROW(NgramModel(1 << 20, 2), UserError);
  NgramModel model(10, 3);
  EXPECT_THROW(model.count(std::vector<int32_t>{10}), UserError);
  model.count(std::vector<int32_t>{1, 2});
  EXPECT_THROW(model.finish(), UserError) << "too short for one trigram";
}

}  // namespace
}  // namespace conclave::proof
