#include "data/tokenizer/merges.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "data/tokenizer/byte_trie.h"
#include "data/tokenizer/vocabulary.h"
#include "data/tokenizer/word_cache.h"

namespace conclave {
namespace {

// As the definition says it, in time that grows with the cube.
std::vector<int32_t> merge_slowly(const MergeTable& table, std::vector<int32_t> symbols) {
  while (true) {
    size_t best = symbols.size();
    int32_t best_rank = INT32_MAX;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const Merge* merge = table.find(symbols[i], symbols[i + 1]);
      if (merge != nullptr && merge->rank < best_rank) {
        best = i;
        best_rank = merge->rank;
      }
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = table.find(symbols[best], symbols[best + 1])->merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

class Numbers {
 public:
  explicit Numbers(uint32_t seed) : state_(seed * 2654435761U + 1) {}
  int32_t below(int32_t limit) {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<int32_t>((state_ >> 33) % static_cast<uint64_t>(limit));
  }

 private:
  uint64_t state_;
};

TEST(Merger, AgreesWithTheDefinition) {
  Numbers numbers(1);
  Merger merger;
  for (int round = 0; round < 300; ++round) {
    // Symbols 0..3 at first; each merge makes a new one. Some ranks are equal, as SentencePiece has them.
    MergeTable table;
    const int32_t count = numbers.below(60);
    for (int32_t i = 0; i < count; ++i) {
      table.set(numbers.below(4 + i), numbers.below(4 + i), {numbers.below(3) == 0 ? i / 2 : i, 4 + i});
    }
    std::vector<int32_t> symbols(static_cast<size_t>(numbers.below(round % 3 == 0 ? 200 : 41)));
    for (int32_t& symbol : symbols) symbol = numbers.below(4);
    const std::vector<int32_t> expected = merge_slowly(table, symbols);
    std::vector<int32_t> got = symbols, listed = symbols;
    merger.apply(table, got);
    EXPECT_EQ(got, expected) << round;
    std::vector<Merger::Candidate> candidates;
    merger.apply(table, listed, &candidates);
    EXPECT_EQ(listed, expected) << round;
    EXPECT_GE(candidates.size(), symbols.size() - expected.size());
  }
}

TEST(MergeTable, ALaterMergeOfTheSamePairReplacesTheEarlier) {
  MergeTable table;
  table.set(1, 2, {0, 3});
  table.set(1, 2, {5, 4});
  EXPECT_EQ(table.size(), 1);
  EXPECT_EQ(table.find(1, 2)->merged, 4);
  EXPECT_EQ(table.find(2, 1), nullptr);
}

TEST(ByteTrie, AgreesWithAMap) {
  Numbers numbers(2);
  std::map<std::string, int32_t> map;
  for (int32_t i = 0; i < 5000; ++i) {
    std::string key;
    const int32_t length = 1 + numbers.below(6);
    for (int32_t k = 0; k < length; ++k) key += static_cast<char>(numbers.below(i % 2 == 0 ? 4 : 256));
    map.emplace(key, i);
  }
  const std::vector<std::pair<std::string_view, int32_t>> entries(map.begin(), map.end());
  const ByteTrie trie(entries);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (int k = 0; k < 8; ++k) text += static_cast<char>(numbers.below(round % 2 == 0 ? 4 : 256));
    size_t length = 0;
    int32_t value = ByteTrie::kNone;
    for (size_t k = 1; k <= text.size(); ++k) {
      const auto found = map.find(text.substr(0, k));
      if (found == map.end()) continue;
      length = k;
      value = found->second;
    }
    const ByteTrie::Match match = trie.longest(text);
    ASSERT_EQ(match.length, length);
    ASSERT_EQ(match.value, value);
  }
  EXPECT_EQ(ByteTrie().longest("a").length, 0u);
}

TEST(Vocabulary, RefusesWhatContradictsItself) {
  Vocabulary vocabulary;
  vocabulary.add("a", 5);
  EXPECT_THROW(vocabulary.add("a", 6), UserError);
  EXPECT_THROW(vocabulary.add("b", 5), UserError);
  EXPECT_THROW(vocabulary.add("b", -1), UserError);
  EXPECT_THROW(vocabulary.add("b", Vocabulary::kMaxSize), UserError);
  EXPECT_EQ(vocabulary.size(), 6);
  EXPECT_EQ(vocabulary.count(), 1);
  EXPECT_EQ(vocabulary.find("a"), 5);
  EXPECT_EQ(vocabulary.find(""), -1);
  EXPECT_EQ(vocabulary.text(4), "");
  EXPECT_FALSE(vocabulary.has(4));
}

TEST(WordCache, KeepsGivingTheRightIdsWhenItOverflows) {
  WordCache cache;
  const int32_t words = 300'000;  // more than it holds
  int32_t remembered = 0;
  for (int32_t i = 0; i < words; ++i) {
    const std::string word = "word" + std::to_string(i);
    const WordCache::Place place = cache.find(word);
    ASSERT_FALSE(place.found);
    const std::vector<int32_t> ids(static_cast<size_t>(i % 5), i);
    cache.insert(place, word, ids);
    const WordCache::Place again = cache.find("word" + std::to_string(i / 2));
    if (!again.found) continue;
    ++remembered;
    const std::span<const int32_t> got = cache.ids(again);
    ASSERT_EQ(std::vector<int32_t>(got.begin(), got.end()),
              std::vector<int32_t>(static_cast<size_t>(i / 2 % 5), i / 2));
  }
  EXPECT_GT(remembered, words / 3);
}

}  // namespace
}  // namespace conclave
