// The table of layouts has every pair of features that can meet; those that cannot stand here with the reason.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "config/validate.h"
#include "proof/layout_cases.h"
#include "proof/layout_features.h"

namespace conclave::proof {
namespace {

using Pair = std::pair<std::string, std::string>;

Pair in_order(const std::string& a, const std::string& b) { return a < b ? Pair{a, b} : Pair{b, a}; }

enum class Why {
  kRefused,    ///< the rules of the options say so, or one option cannot have both values
  kDefinition  ///< the mathematics depend on the layout there (docs/layouts.md): nothing to compare with
};

/// Each of `some` with each of `others`.
struct Apart {
  Why why;
  const char* reason;
  std::vector<std::string> some, others;
};

// Ways to share the tokens of a micro-batch.
const std::vector<std::string> kSharedTokens = {
    "TP", "CP ring", "CP gather", "CP heads", "CP heads, ring", "GQA below TP", "ETP below TP"};
const std::vector<std::string> kOfExperts = {
    "EP",       "ETP below TP", "ETP above TP",  "EDP",           "allgather",
    "alltoall", "flex deepep",  "flex hybridep", "shared expert", "shared overlap",
    "capacity", "padded",       "aux loss",      "seq aux loss",  "global aux loss",
    "sinkhorn", "z-loss",       "expert bias",   "jitter"};

const std::vector<Apart>& what_never_meets() {
  static const std::vector<Apart> list = {
      {Why::kRefused, "experts with TP need SP", {"TP without SP"}, kOfExperts},
      {Why::kRefused, "there are no experts", {"dense"}, kOfExperts},
      {Why::kRefused, "one dispatcher", {"allgather"}, {"alltoall", "flex deepep", "flex hybridep"}},
      {Why::kRefused, "one dispatcher", {"alltoall"}, {"flex deepep", "flex hybridep"}},
      {Why::kRefused, "one back end", {"flex deepep"}, {"flex hybridep"}},
      {Why::kRefused, "deepep has no padding", {"flex deepep"}, {"padded"}},
      {Why::kRefused, "a layout string places every layer", {"layout string"}, {"uneven stages"}},
      {Why::kRefused, "one size", {"ETP above TP"}, {"ETP below TP"}},
      {Why::kRefused, "experts with biases are whole", {"ETP above TP"}, {"biases"}},
      {Why::kRefused, "a tensor rank has one key/value head", {"GQA below TP"}, {"CP heads", "CP heads, ring"}},
      {Why::kRefused, "one kind of attention", {"MLA"}, {"GQA", "GQA below TP"}},
      {Why::kRefused, "shared experts have no biases", {"biases"}, {"shared expert", "shared overlap"}},
      {Why::kRefused, "one granularity", {"recompute all"}, {"recompute parts"}},
      {Why::kRefused,
       "sinkhorn stands alone",
       {"sinkhorn"},
       {"aux loss", "seq aux loss", "global aux loss", "capacity", "padded"}},
      {Why::kDefinition, "the loss is over what the ranks of DP see at a time", {"global aux loss"}, {"DP"}},
      {Why::kDefinition, "a rank decides over its own tokens", {"capacity", "padded", "sinkhorn"}, kSharedTokens},
  };
  return list;
}

bool is_of_bf16(const std::string& name) { return name == "bf16" || name == "bf16 reduction"; }

// In bf16, whose bounds are wide, only pairs that are of bf16 count.
std::set<Pair> covered_pairs() {
  std::set<Pair> covered;
  for (const LayoutCase& layout : layout_cases()) {
    const std::vector<std::string> names = features_of(checked_options(parsed_case(layout), Command::kTrain));
    const bool bf16 = std::find(names.begin(), names.end(), "bf16") != names.end();
    for (const std::string& a : names) {
      for (const std::string& b : names) {
        if (!bf16 || is_of_bf16(a) || is_of_bf16(b)) covered.insert(in_order(a, b));
      }
    }
  }
  return covered;
}

const LayoutFeature& feature(const std::string& name) {
  const auto& all = layout_features();
  const auto found = std::find_if(all.begin(), all.end(), [&](const LayoutFeature& one) { return one.name == name; });
  CONCLAVE_CHECK(found != all.end(), "there is no feature '{}'", name);
  return *found;
}

// Whether the words of both, in this order, give a layout with both.
bool meet(const LayoutFeature& a, const LayoutFeature& b, int64_t ranks) {
  LayoutCase both{"both", ranks, a.words};
  both.words.insert(both.words.end(), b.words.begin(), b.words.end());
  both.dense = a.dense || b.dense;
  try {
    const Options options = checked_options(parsed_case(both), Command::kTrain);
    return a.holds(options) && b.holds(options);
  } catch (const UserError&) {
    return false;
  }
}

TEST(LayoutTable, IsPrintedWithItsFeatures) {
  for (const LayoutCase& layout : layout_cases()) {
    const std::vector<std::string> names = features_of(checked_options(parsed_case(layout), Command::kTrain));
    fmt::print("{:32} {:>2}  {}\n", layout.name, layout.ranks, join(names, ", "));
    EXPECT_FALSE(names.empty()) << layout.name;
  }
  fmt::print("{} layouts, {} features\n", layout_cases().size(), layout_features().size());
  EXPECT_GE(layout_cases().size(), 60U);
}

TEST(LayoutTable, HasEveryPairOfFeaturesThatCanMeet) {
  std::set<Pair> covered = covered_pairs(), apart;
  for (const Apart& pairs : what_never_meets()) {
    for (const std::string& a : pairs.some) {
      for (const std::string& b : pairs.others) apart.insert(in_order(feature(a).name, feature(b).name));
    }
  }
  const auto& all = layout_features();
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = i + 1; j < all.size(); ++j) {
      const Pair pair = in_order(all[i].name, all[j].name);
      EXPECT_NE(covered.contains(pair), apart.contains(pair))
          << all[i].name << " with " << all[j].name << (apart.contains(pair) ? ": they do meet" : ": no case has both");
    }
  }
}

TEST(LayoutTable, WhatNeverMeetsIsRefused) {
  for (const Apart& pairs : what_never_meets()) {
    for (const std::string& a : pairs.some) {
      for (const std::string& b : pairs.others) {
        bool found = false;
        for (const int64_t ranks : {1, 2, 3, 4, 8, 16})
          found = found || meet(feature(a), feature(b), ranks) || meet(feature(b), feature(a), ranks);
        // What only has no meaning is not refused: it does meet.
        EXPECT_EQ(found, pairs.why == Why::kDefinition) << a << " with " << b << ": " << pairs.reason;
      }
    }
  }
}

TEST(LayoutTable, FeaturesAreWhatTheirWordsGive) {
  for (const LayoutFeature& one : layout_features()) {
    bool found = false;
    for (const int64_t ranks : {1, 2, 4}) {
      const Options options = [&]() -> Options {
        try {
          return checked_options(parsed_case({"one", ranks, one.words, {}, one.dense}), Command::kTrain);
        } catch (const UserError&) {
          return {};
        }
      }();
      found = found || (options.model.num_layers > 0 && one.holds(options));
    }
    EXPECT_TRUE(found) << one.name;
  }
}

}  // namespace
}  // namespace conclave::proof
