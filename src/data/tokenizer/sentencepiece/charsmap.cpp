#include "data/tokenizer/sentencepiece/charsmap.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "data/tokenizer/utf8.h"

namespace conclave::sentencepiece {
namespace {

// A unit of the double array: label in bits 0-7 (bit 31 marks a value), leaf flag in bit 8, offset in bits 10-30,
// shifted by 8 more where bit 9 is set.
size_t offset_of(uint32_t unit) { return size_t{unit >> 10} << ((unit & 0x200) >> 6); }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FF; }
bool has_leaf(uint32_t unit) { return (unit & 0x100) != 0; }

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  if (blob.empty()) return;
  uint32_t size = 0;
  CONCLAVE_USER_CHECK(blob.size() > sizeof(size), "the character rules are cut off");
  std::memcpy(&size, blob.data(), sizeof(size));
  blob.remove_prefix(sizeof(size));
  CONCLAVE_USER_CHECK(size < blob.size() && size % 4 == 0 && size > 0,
                      "the character rules are damaged: a table of {} bytes in {} bytes", size, blob.size());
  units_.resize(size / 4);
  std::memcpy(units_.data(), blob.data(), size);
  replacements_ = blob.substr(size);
  CONCLAVE_USER_CHECK(replacements_.back() == '\0' && utf8::is_valid(replacements_),
                      "the character rules are damaged: their texts are not valid UTF-8");
  for (int c = 0; c < 128; ++c) plain_[static_cast<size_t>(c)] = is_plain(static_cast<unsigned char>(c));
}

size_t Charsmap::root() const { return offset_of(units_[0]); }

Charsmap::Node Charsmap::child(size_t position, unsigned char byte) const {
  const size_t at = position ^ byte;
  if (at >= units_.size() || label_of(units_[at]) != byte) return {false, 0, false, 0};
  const size_t next = at ^ offset_of(units_[at]);
  if (!has_leaf(units_[at])) return {true, next, false, 0};
  CONCLAVE_USER_CHECK(next < units_.size(), "[data/tokenizer] the model's character rules are damaged");
  return {true, next, true, units_[next] & 0x7FFFFFFF};
}

bool Charsmap::is_plain(unsigned char first) const {
  const Node node = child(root(), first);
  if (!node.there) return true;
  if (node.leaf) return false;
  for (int c = 0; c < 128; ++c) {
    if (child(node.position, static_cast<unsigned char>(c)).there) return false;
  }
  return true;
}

Charsmap::Step Charsmap::look_up(std::string_view text) const {
  size_t length = 0;
  uint32_t value = 0;
  if (!units_.empty()) {
    size_t position = root();
    for (size_t i = 0; i < text.size(); ++i) {
      const Node node = child(position, static_cast<unsigned char>(text[i]));
      if (!node.there) break;
      position = node.position;
      if (node.leaf) {
        length = i + 1;
        value = node.value;
      }
    }
  }
  if (length == 0) {
    const utf8::Character c = utf8::decode(text);
    if (!c.valid) return {utf8::kReplacementText, 1};
    return {text.substr(0, c.length), c.length};
  }
  const bool inside = value < replacements_.size() && (static_cast<unsigned char>(replacements_[value]) & 0xC0) != 0x80;
  CONCLAVE_USER_CHECK(inside, "[data/tokenizer] the model's character rules are damaged");
  return {std::string_view(replacements_).substr(value, replacements_.find('\0', value) - value), length};
}

}  // namespace conclave::sentencepiece
