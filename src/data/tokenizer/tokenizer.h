// Text to token ids and back. Every implementation is immutable after construction: all const members may be called
// from many threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace conclave {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Appends the ids of `text` to `out`, without added start or end tokens. Special tokens written out in the text are
  /// found. Bytes that are no valid UTF-8 count as U+FFFD, one for each maximal broken sequence; ByteTokenizer keeps
  /// them.
  virtual void encode_to(std::string_view text, std::vector<int32_t>& out) const = 0;
  std::vector<int32_t> encode(std::string_view text) const;
  /// The ids with the start and end tokens that the tokenizer's own template adds; without a template the same as
  /// encode.
  virtual std::vector<int32_t> encode_with_special(std::string_view text) const;

  /// The text of `ids`, special tokens kept. Valid UTF-8 (ByteTokenizer excepted); bytes that form no character become
  /// U+FFFD. An id outside the vocabulary throws UserError.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;

  /// One more than the largest id: what the embedding must cover (before any padding).
  virtual int64_t vocab_size() const = 0;
  /// End of document, also where generation stops.
  virtual std::optional<int32_t> eod() const = 0;
  virtual std::optional<int32_t> bos() const { return std::nullopt; }
  virtual std::optional<int32_t> pad() const { return std::nullopt; }

  /// The token as the tokenizer's file spells it ("Ġthe", "▁the", "<0x0A>"), for people to look at. Throws UserError
  /// outside the vocabulary; ids inside it that no token has give "".
  virtual std::string token_text(int32_t id) const = 0;
  /// The id of the token spelled so, if there is one.
  virtual std::optional<int32_t> token_id(std::string_view token) const = 0;
  /// The type, as --tokenizer-type spells it.
  virtual std::string_view name() const = 0;
  /// Files that a copy of this tokenizer needs (for exports and checkpoints); empty for built-in ones.
  virtual std::vector<std::string> files() const { return {}; }

 protected:
  /// Throws UserError unless 0 <= id < vocab_size().
  void check_id(int32_t id) const;
};

/// What make_tokenizer needs to know; the options of the same names fill it.
struct TokenizerConfig {
  std::string type;                              ///< --tokenizer-type
  std::string model;                             ///< --tokenizer-model: a file, or a folder that holds tokenizer.json
  std::string vocab_file;                        ///< --vocab-file (GPT2BPETokenizer)
  std::string merge_file;                        ///< --merge-file (GPT2BPETokenizer)
  std::optional<int64_t> vocab_size;             ///< --vocab-size (NullTokenizer)
  std::optional<int64_t> null_tokenizer_eod_id;  ///< default vocab_size - 1
  int64_t null_tokenizer_pad_id = -1;            ///< -1: none
};

/// Reads and checks the tokenizer's files. Throws UserError for an unknown or unbuilt type, a missing option, a damaged
/// file.
std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerConfig& config);

/// Turns a stream of ids into text as it comes: push returns the text that became certain, so that no character is ever
/// cut. The pieces together are decode() of all ids, save that bytes which form no character may show as another number
/// of U+FFFD.
class StreamDecoder {
 public:
  /// `tokenizer` must outlive this object.
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string push(int32_t id);
  /// Whatever was still held back; the decoder is then as new.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::vector<int32_t> window_;  ///< ids whose text may still change, after `settled_` ids of context
  size_t settled_ = 0;
  std::string settled_text_;  ///< decode() of the first `settled_` ids of the window
};

}  // namespace conclave
