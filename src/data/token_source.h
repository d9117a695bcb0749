// Where tokens come from: numbered sequences, read whole or in part. Implementations: IndexedDataset, MockTokens.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace conclave {

/// 32-bit integers at any address (in an .idx file they stand at an odd offset).
class LengthView {
 public:
  LengthView() = default;
  LengthView(const void* data, int64_t count) : data_(static_cast<const char*>(data)), count_(count) {}
  int64_t size() const { return count_; }
  int32_t operator[](int64_t i) const {
    int32_t value;
    std::memcpy(&value, data_ + i * 4, 4);
    return value;
  }

 private:
  const char* data_ = nullptr;
  int64_t count_ = 0;
};

/// Immutable; const members may be called from many threads at once.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  /// For messages: the path prefix, or "mock data".
  virtual const std::string& name() const = 0;
  /// Tokens in each sequence.
  virtual LengthView lengths() const = 0;
  /// Copies `out.size()` tokens of `sequence` from token `offset`. Throws UserError if they are not there.
  virtual void read(int64_t sequence, int64_t offset, std::span<int32_t> out) const = 0;
  /// What identifies the content, wherever it lies: of the same text only if the tokens are (very likely) the same.
  virtual std::string content_id() const = 0;
  /// What changes when the index of samples has to be built anew.
  virtual Json fingerprint() const = 0;
  /// Full check of whatever was left unchecked when opening; throws UserError.
  virtual void check_whole() const {}
  /// Throws UserError if what lies behind lengths() has shrunk: reading lengths would then end the process.
  virtual void check_alive() const {}

  int64_t sequence_count() const { return lengths().size(); }
  std::vector<int32_t> read_sequence(int64_t sequence) const;
};

}  // namespace conclave
