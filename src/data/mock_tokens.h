// The mock data set: 100,000 sequences 1, 2, 3, ... (mod vocabulary) that end with eod, of random lengths in [1, 4096).
#pragma once

#include <vector>

#include "data/token_source.h"

namespace conclave {

class MockTokens : public TokenSource {
 public:
  /// Lengths come from NumPy's default generator with seed 0.
  MockTokens(int64_t vocab_size, int64_t eod);
  const std::string& name() const override { return name_; }
  LengthView lengths() const override { return {lengths_.data(), static_cast<int64_t>(lengths_.size())}; }
  void read(int64_t sequence, int64_t offset, std::span<int32_t> out) const override;
  std::string content_id() const override;
  Json fingerprint() const override;

 private:
  std::string name_ = "mock data";
  int64_t vocab_size_;
  int64_t eod_;
  std::vector<int32_t> lengths_;
};

}  // namespace conclave
