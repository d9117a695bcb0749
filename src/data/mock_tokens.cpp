#include "data/mock_tokens.h"

#include "base/error.h"
#include "data/random.h"

namespace conclave {
namespace {
constexpr int64_t kSequences = 100000;
constexpr int32_t kLengthLimit = 4096;
}  // namespace

MockTokens::MockTokens(int64_t vocab_size, int64_t eod) : vocab_size_(vocab_size), eod_(eod) {
  CONCLAVE_USER_CHECK(vocab_size > 0, "[data] mock data need a vocabulary, its size is {}", vocab_size);
  NumpyGenerator random(0);
  lengths_.reserve(kSequences);
  for (int64_t i = 0; i < kSequences; ++i) lengths_.push_back(random.integer(1, kLengthLimit));
}

void MockTokens::read(int64_t sequence, int64_t offset, std::span<int32_t> out) const {
  CONCLAVE_CHECK(sequence >= 0 && sequence < kSequences, "sequence {} of {}", sequence, kSequences);
  const int64_t length = lengths_[static_cast<size_t>(sequence)], count = static_cast<int64_t>(out.size());
  CONCLAVE_CHECK(offset >= 0 && count <= length - offset, "{} tokens from {} of {}", count, offset, length);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = offset + i;
    out[static_cast<size_t>(i)] = static_cast<int32_t>((at == length - 1 ? eod_ : at + 1) % vocab_size_);
  }
}

std::string MockTokens::content_id() const { return fmt::format("mock-{}-{}", vocab_size_, eod_); }

Json MockTokens::fingerprint() const {
  Json out = Json::object();
  out["content"] = content_id();
  return out;
}

}  // namespace conclave
