// A text on its way through the pre-tokenizers: a list of pieces, each of which is split or rewritten by the next one.
// The buffers are kept from text to text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::hugging_face {

class Pieces {
 public:
  struct Piece {
    size_t begin, end;
    bool at_origin;  ///< begins with the first character of the whole input
  };

  /// One piece: `text`, which must stay where it is. `at_origin` as in Piece.
  void reset(std::string_view text, bool at_origin) {
    text_ = text;
    pieces_.clear();
    if (!text.empty()) pieces_.push_back({0, text.size(), at_origin});
  }

  /// Calls fn(text of the piece, emit) for each piece; emit(begin, end) adds a part of it to the new list, empty parts
  /// are dropped.
  template <typename Fn>
  void split(Fn&& fn) {
    next_.clear();
    for (const Piece& piece : pieces_) {
      fn(text_of(piece), [&](size_t begin, size_t end) {
        if (begin < end) next_.push_back({piece.begin + begin, piece.begin + end, piece.at_origin && begin == 0});
      });
    }
    pieces_.swap(next_);
  }

  /// Calls fn(text of the piece, at_origin, out) for each piece; what it appends to `out` becomes the piece's text.
  template <typename Fn>
  void rewrite(Fn&& fn) {
    std::string& out = buffers_[text_.data() == buffers_[0].data() ? 1 : 0];
    out.clear();
    next_.clear();
    for (const Piece& piece : pieces_) {
      const size_t begin = out.size();
      fn(text_of(piece), piece.at_origin, out);
      if (out.size() > begin) next_.push_back({begin, out.size(), piece.at_origin});
    }
    pieces_.swap(next_);
    text_ = out;
  }

  /// Calls fn(text of the piece) for each piece.
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const Piece& piece : pieces_) fn(text_of(piece));
  }

 private:
  std::string_view text_;
  std::string buffers_[2];
  std::vector<Piece> pieces_, next_;

  std::string_view text_of(const Piece& piece) const { return text_.substr(piece.begin, piece.end - piece.begin); }
};

}  // namespace conclave::hugging_face
