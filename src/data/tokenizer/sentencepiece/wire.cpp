#include "data/tokenizer/sentencepiece/wire.h"

#include <bit>
#include <cstring>

#include "base/error.h"

namespace conclave::sentencepiece {
namespace {

void need(const WireField& field, WireField::Type type) {
  CONCLAVE_USER_CHECK(field.type == type, "field {} has wire type {}, not {}; is this a SentencePiece model?",
                      field.number, static_cast<int>(field.type), static_cast<int>(type));
}

}  // namespace

uint64_t WireReader::take_varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const auto byte = static_cast<unsigned char>(take(1)[0]);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  throw_user("a number of more than ten bytes; is this a SentencePiece model?");
}

std::string_view WireReader::take(uint64_t size) {
  CONCLAVE_USER_CHECK(size <= rest_.size(), "it is cut off: {} bytes are needed, {} are left", size, rest_.size());
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

bool WireReader::next(WireField& field) {
  if (rest_.empty()) return false;
  const uint64_t key = take_varint();
  CONCLAVE_USER_CHECK(key >> 3 >= 1 && key >> 3 < (uint64_t{1} << 29),
                      "field number {}; is this a SentencePiece model?", key >> 3);
  field = {};
  field.number = static_cast<uint32_t>(key >> 3);
  switch (key & 7) {
    case 0:
      field.type = WireField::Type::kVarint;
      field.varint = take_varint();
      return true;
    case 1:
      field.type = WireField::Type::kFixed64;
      take(8);
      return true;
    case 2:
      field.type = WireField::Type::kBytes;
      field.bytes = take(take_varint());
      return true;
    case 5:
      field.type = WireField::Type::kFixed32;
      std::memcpy(&field.fixed32, take(4).data(), 4);
      return true;
    default:
      throw_user(fmt::format("field {} has wire type {}; is this a SentencePiece model?", field.number, key & 7));
  }
}

std::string_view as_bytes(const WireField& field) {
  need(field, WireField::Type::kBytes);
  return field.bytes;
}

uint64_t as_varint(const WireField& field) {
  need(field, WireField::Type::kVarint);
  return field.varint;
}

bool as_flag(const WireField& field) { return as_varint(field) != 0; }

float as_float(const WireField& field) {
  need(field, WireField::Type::kFixed32);
  return std::bit_cast<float>(field.fixed32);
}

}  // namespace conclave::sentencepiece
