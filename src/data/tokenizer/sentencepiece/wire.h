// The wire format of protocol buffers: a message as a list of fields.
#pragma once

#include <cstdint>
#include <string_view>

namespace conclave::sentencepiece {

/// One field: of `varint`, `fixed32` and `bytes` the one that its wire type says has meaning.
struct WireField {
  enum class Type { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  uint32_t number = 0;
  Type type = Type::kVarint;
  uint64_t varint = 0;
  uint32_t fixed32 = 0;
  std::string_view bytes;
};

class WireReader {
 public:
  explicit WireReader(std::string_view message) : rest_(message) {}
  /// The next field, or false at the end. Throws UserError where the message is cut off or not one.
  bool next(WireField& field);

 private:
  std::string_view rest_;
  uint64_t take_varint();
  std::string_view take(uint64_t size);
};

/// The field's value, if it has the wire type that is right for it; else UserError.
std::string_view as_bytes(const WireField& field);
uint64_t as_varint(const WireField& field);
bool as_flag(const WireField& field);
float as_float(const WireField& field);

}  // namespace conclave::sentencepiece
