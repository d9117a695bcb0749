// The alphabet in which byte-level vocabularies are written: every byte stands for one printable character. Radford et
// al. (2019), "Language Models are Unsupervised Multitask Learners": printable bytes for themselves, the others U+0100
// and up in their order.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace conclave::hugging_face {

/// Appends the character of each byte of `bytes`.
void append_byte_letters(std::string& out, std::string_view bytes);
/// The bytes that `letters` stand for; nothing if some character is not in the alphabet.
std::optional<std::string> bytes_of_letters(std::string_view letters);

}  // namespace conclave::hugging_face
