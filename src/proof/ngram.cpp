#include "proof/ngram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include "base/error.h"

namespace conclave::proof {
namespace {

constexpr int kMaxOrder = 3;
constexpr int kTokenBits = 20;

// An n-gram as one number: each token takes kTokenBits, the last token lowest.
uint64_t pack(std::span<const int32_t> tokens) {
  uint64_t key = 0;
  for (const int32_t token : tokens) key = key << kTokenBits | static_cast<uint64_t>(token);
  return key;
}

uint64_t context_of(uint64_t key) { return key >> kTokenBits; }
uint64_t without_first(uint64_t key, int order) { return key & ((uint64_t{1} << (kTokenBits * (order - 1))) - 1); }

struct ContextSum {
  double count = 0;     // of all its n-grams
  double distinct = 0;  // of its n-grams
};

}  // namespace

struct NgramModel::Tables {
  int64_t vocab_size = 0;
  int order = 0;
  int64_t tokens = 0;
  bool finished = false;
  // By order - 1.
  std::array<std::unordered_map<uint64_t, int64_t>, kMaxOrder> counts;
  std::array<std::unordered_map<uint64_t, ContextSum>, kMaxOrder> contexts;
  std::array<double, kMaxOrder> discounts{};

  void check(std::span<const int32_t> stream) const {
    for (const int32_t token : stream) {
      CONCLAVE_USER_CHECK(token >= 0 && token < vocab_size,
                          "[proof/ngram] token {} is outside the vocabulary of {}; use the tokenizer of the data",
                          token, vocab_size);
    }
  }

  // Kneser-Ney counts of the next shorter order: in how many distinct contexts a shorter n-gram was seen.
  void continue_counts(int n) {
    auto& shorter = counts[static_cast<size_t>(n - 2)];
    for (const auto& [key, count] : counts[static_cast<size_t>(n - 1)]) ++shorter[without_first(key, n)];
  }

  void sum_contexts(int n) {
    const auto i = static_cast<size_t>(n - 1);
    double once = 0, twice = 0;
    for (const auto& [key, count] : counts[i]) {
      ContextSum& sum = contexts[i][context_of(key)];
      sum.count += static_cast<double>(count);
      sum.distinct += 1;
      once += count == 1;
      twice += count == 2;
    }
    // Where no n-gram was seen once the estimate is 0 and nothing would be left for what was not seen.
    discounts[i] = once > 0 ? once / (once + 2 * twice) : 0.5;
  }

  double probability(uint64_t key, int n) const {
    if (n == 0) return 1.0 / static_cast<double>(vocab_size);
    const auto i = static_cast<size_t>(n - 1);
    const double lower = probability(n == 1 ? 0 : without_first(key, n), n - 1);
    const auto context = contexts[i].find(context_of(key));
    if (context == contexts[i].end()) return lower;
    const auto found = counts[i].find(key);
    const double count = found == counts[i].end() ? 0.0 : static_cast<double>(found->second);
    const ContextSum& sum = context->second;
    return (std::max(count - discounts[i], 0.0) + discounts[i] * sum.distinct * lower) / sum.count;
  }
};

NgramModel::NgramModel(int64_t vocab_size, int order) : tables_(std::make_unique<Tables>()) {
  CONCLAVE_USER_CHECK(order >= 1 && order <= kMaxOrder, "[proof/ngram] an order from 1 to {} is built; got {}",
                      kMaxOrder, order);
  CONCLAVE_USER_CHECK(vocab_size > 0 && vocab_size < (int64_t{1} << kTokenBits),
                      "[proof/ngram] the vocabulary must have 1 to {} tokens; got {}", (1 << kTokenBits) - 1,
                      vocab_size);
  tables_->vocab_size = vocab_size;
  tables_->order = order;
}

NgramModel::~NgramModel() = default;

void NgramModel::count(std::span<const int32_t> tokens) {
  CONCLAVE_CHECK(!tables_->finished, "counting after finish()");
  tables_->check(tokens);
  const auto n = static_cast<size_t>(tables_->order);
  auto& counts = tables_->counts[n - 1];
  for (size_t i = n; i <= tokens.size(); ++i) ++counts[pack(tokens.subspan(i - n, n))];
  tables_->tokens += static_cast<int64_t>(tokens.size());
}

void NgramModel::finish() {
  CONCLAVE_USER_CHECK(!tables_->counts[static_cast<size_t>(tables_->order - 1)].empty(),
                      "[proof/ngram] the training data have fewer tokens than an n-gram of order {}", tables_->order);
  for (int n = tables_->order; n > 1; --n) tables_->continue_counts(n);
  for (int n = 1; n <= tables_->order; ++n) tables_->sum_contexts(n);
  tables_->finished = true;
}

double NgramModel::probability(std::span<const int32_t> context, int32_t token) const {
  CONCLAVE_CHECK(tables_->finished, "probability before finish()");
  const size_t used = std::min(context.size(), static_cast<size_t>(tables_->order - 1));
  const uint64_t key = pack(context.last(used)) << kTokenBits | static_cast<uint64_t>(token);
  return tables_->probability(key, static_cast<int>(used) + 1);
}

double NgramModel::loss_sum(std::span<const int32_t> tokens) const {
  tables_->check(tokens);
  double sum = 0;
  for (size_t i = 0; i < tokens.size(); ++i) sum -= std::log(probability(tokens.first(i), tokens[i]));
  return sum;
}

int64_t NgramModel::counted_tokens() const { return tables_->tokens; }

}  // namespace conclave::proof
