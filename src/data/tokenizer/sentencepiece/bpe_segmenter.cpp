#include <algorithm>
#include <functional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "data/tokenizer/merges.h"
#include "data/tokenizer/sentencepiece/segmenter.h"
#include "data/tokenizer/space_mark.h"
#include "data/tokenizer/utf8.h"
#include "data/tokenizer/word_cache.h"

namespace conclave::sentencepiece {
namespace {

// Finding all ways to put a piece together takes time that grows with the square of its length.
constexpr size_t kMaxPieceBytes = 1024;

// Byte-pair encoding where two neighbours may merge if together they are a piece, and the piece of the highest score
// goes first. So every way to cut a piece in two is a merge, ranked by the piece's score. Symbols are ids of pieces,
// and characters that are no piece by themselves as number of pieces + code point. User-defined symbols never merge.
class BpeSegmenter : public Segmenter {
 public:
  explicit BpeSegmenter(const PieceTable& table)
      : table_(table), characters_(static_cast<int32_t>(table.model->pieces.size())) {
    rank_pieces();
    for (size_t i = 0; i < table.model->pieces.size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      if (table.pieces.has(id)) add_merges(id);
    }
    // What an unused piece is made of is decided by the whole text.
    if (has_unused_) cut_at_marks_ = false;
  }

  std::unique_ptr<Segmenter::Scratch> make_scratch() const override { return std::make_unique<Scratch>(); }

  void encode(std::string_view text, Segmenter::Scratch& base, std::vector<int32_t>& out) const override {
    auto& scratch = static_cast<Scratch&>(base);
    IdWriter writer(table_, out);
    // Where no piece holds a mark behind something else, merges never cross such a border: each part is segmented by
    // itself.
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = cut_at_marks_ ? next_mark_border(text, begin) : text.size();
      encode_part(text.substr(begin, end - begin), scratch, writer);
      begin = end;
    }
  }

 private:
  struct Scratch : Segmenter::Scratch {
    WordCache cache;
    Merger merger;
    std::vector<int32_t> symbols, ids;
    std::vector<Merger::Candidate> candidates;
    std::unordered_map<int32_t, std::pair<int32_t, int32_t>> made_of;  ///< unused pieces: what they were merged from
  };
  const PieceTable& table_;
  int32_t characters_;  ///< symbol of character 0
  MergeTable merges_;
  std::vector<int32_t> rank_;
  bool cut_at_marks_ = true;
  bool has_unused_ = false;

  void rank_pieces() {
    std::vector<float> scores;
    for (const Piece& piece : table_.model->pieces) scores.push_back(piece.score);
    std::sort(scores.begin(), scores.end(), std::greater<>());
    scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
    for (const Piece& piece : table_.model->pieces) {
      const auto at = std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>());
      rank_.push_back(static_cast<int32_t>(at - scores.begin()));
    }
  }

  void add_merges(int32_t id) {
    const std::string_view text = table_.model->pieces[static_cast<size_t>(id)].text;
    if (has_inner_mark(text)) cut_at_marks_ = false;
    if (table_.type(id) == PieceType::kUserDefined) return;
    if (table_.type(id) == PieceType::kUnused) has_unused_ = true;
    CONCLAVE_USER_CHECK(text.size() <= kMaxPieceBytes, "piece {} is {} bytes long, more than {}", id, text.size(),
                        kMaxPieceBytes);
    for (size_t cut = utf8::length_of(text[0]); cut < text.size(); cut += utf8::length_of(text[cut])) {
      const int32_t left = part(text.substr(0, cut)), right = part(text.substr(cut));
      if (left >= 0 && right >= 0) merges_.set(left, right, {rank_[static_cast<size_t>(id)], id});
    }
  }

  // The symbol of a text that can stand beside another one and merge, or -1.
  int32_t part(std::string_view text) const {
    const int32_t id = table_.pieces.find(text);
    if (id >= 0) return table_.type(id) == PieceType::kUserDefined ? -1 : id;
    return utf8::length_of(text[0]) == text.size() ? characters_ + static_cast<int32_t>(utf8::decode(text).code) : -1;
  }

  void encode_part(std::string_view text, Scratch& scratch, IdWriter& writer) const {
    if (text.size() > WordCache::kMaxWord) {
      segment(text, scratch, writer);
      return;
    }
    const WordCache::Place place = scratch.cache.find(text);
    if (!place.found) {
      scratch.ids.clear();
      IdWriter kept(table_, scratch.ids);
      segment(text, scratch, kept);
      scratch.cache.insert(place, text, scratch.ids);
      for (const int32_t id : scratch.ids) writer.piece(id);
      return;
    }
    for (const int32_t id : scratch.cache.ids(place)) writer.piece(id);
  }

  void segment(std::string_view text, Scratch& scratch, IdWriter& writer) const {
    scratch.symbols.clear();
    while (!text.empty()) {
      size_t length = 0;
      if (!table_.user_defined.empty()) {
        const ByteTrie::Match match = table_.user_defined.longest(text);
        length = match.length;
        if (length > 0) scratch.symbols.push_back(match.value);
      }
      if (length == 0) {
        length = std::min<size_t>(utf8::length_of(text[0]), text.size());
        scratch.symbols.push_back(part(text.substr(0, length)));
      }
      text.remove_prefix(length);
    }
    scratch.candidates.clear();
    scratch.merger.apply(merges_, scratch.symbols, has_unused_ ? &scratch.candidates : nullptr);
    if (has_unused_) take_unused_apart(scratch);
    for (const int32_t symbol : scratch.symbols) write(symbol, writer);
  }

  // Unused pieces take part in merging, but what they were made of is given instead.
  void take_unused_apart(Scratch& scratch) const {
    scratch.made_of.clear();
    for (const Merger::Candidate& candidate : scratch.candidates) {
      if (table_.type(candidate.merged) == PieceType::kUnused) {
        scratch.made_of[candidate.merged] = {candidate.left, candidate.right};
      }
    }
    if (scratch.made_of.empty()) return;
    std::vector<int32_t> result, open;
    for (const int32_t symbol : scratch.symbols) {
      open.push_back(symbol);
      while (!open.empty()) {
        const int32_t top = open.back();
        open.pop_back();
        const auto found = scratch.made_of.find(top);
        if (found == scratch.made_of.end()) {
          result.push_back(top);
        } else {
          open.push_back(found->second.second);
          open.push_back(found->second.first);
        }
      }
    }
    scratch.symbols.swap(result);
  }

  void write(int32_t symbol, IdWriter& writer) const {
    if (symbol < characters_) {
      if (table_.type(symbol) != PieceType::kUnused) return writer.piece(symbol);
      return writer.unknown(table_.model->pieces[static_cast<size_t>(symbol)].text);
    }
    std::string letters;
    utf8::append(letters, static_cast<uint32_t>(symbol - characters_));
    writer.unknown(letters);
  }
};

}  // namespace

std::unique_ptr<Segmenter> make_bpe_segmenter(const PieceTable& table) { return std::make_unique<BpeSegmenter>(table); }

}  // namespace conclave::sentencepiece
