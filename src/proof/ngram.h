// What a model that only counts reaches: an n-gram model over tokens, the bar a trained one has to clear.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace conclave::proof {

/// Interpolated Kneser-Ney (Kneser and Ney 1995; Chen and Goodman 1999): from each count of an (order-1)-token context
/// a discount is taken and given to the next shorter context, whose counts are numbers of distinct contexts; the
/// shortest gives to the uniform distribution. The discount of an order is n1 / (n1 + 2 n2), n1 and n2 the numbers of
/// its n-grams counted once and twice. Nothing is tuned on what is measured.
class NgramModel {
 public:
  /// Tokens are 0 <= id < vocab_size < 2^20; order 1 to 3 (3: two tokens of context).
  NgramModel(int64_t vocab_size, int order);
  ~NgramModel();
  NgramModel(const NgramModel&) = delete;
  NgramModel& operator=(const NgramModel&) = delete;

  /// Counts a stream of tokens; streams do not run into each other. Throws UserError on an id outside the vocabulary.
  void count(std::span<const int32_t> tokens);
  /// Ends counting. Throws UserError if nothing was counted.
  void finish();

  /// P(token | context), the context being the last order-1 tokens before it or fewer. Only after finish().
  double probability(std::span<const int32_t> context, int32_t token) const;
  /// Sum of -log P in nats over the stream; its first tokens have as much context as there is.
  double loss_sum(std::span<const int32_t> tokens) const;

  int64_t counted_tokens() const;

 private:
  struct Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace conclave::proof
