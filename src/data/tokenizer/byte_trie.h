// Keys found at the start of a text, byte by byte: a double array (Aoe, 1989), built once.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace conclave {

class ByteTrie {
 public:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNone = -1;

  ByteTrie() = default;
  /// Keys must be different and not empty, values >= 0.
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries);

  bool empty() const { return units_.empty(); }
  /// The node after `node` along `byte`, or kNone. The trie must not be empty.
  int32_t step(int32_t node, unsigned char byte) const {
    const int32_t to = units_[static_cast<size_t>(node)].base + byte + 1;
    return units_[static_cast<size_t>(to)].owner == node ? to : kNone;
  }
  /// The value of the key that ends at `node`, or kNone.
  int32_t value(int32_t node) const { return units_[static_cast<size_t>(node)].value; }

  struct Match {
    size_t length = 0;  ///< 0: no key
    int32_t value = kNone;
  };
  /// The longest key that `text` starts with.
  Match longest(std::string_view text) const;

 private:
  struct Unit {
    int32_t base = 0;       ///< child along byte b: base + b + 1
    int32_t owner = kNone;  ///< the parent; kNone: free
    int32_t value = kNone;
  };
  class Builder;
  std::vector<Unit> units_;
};

}  // namespace conclave
