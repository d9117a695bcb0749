#include <algorithm>
#include <cfloat>
#include <cmath>

#include "base/error.h"
#include "data/tokenizer/sentencepiece/segmenter.h"
#include "data/tokenizer/utf8.h"

namespace conclave::sentencepiece {
namespace {

// How much worse than the worst piece an unknown character is.
constexpr float kUnknownPenalty = 10.0F;
// Totals beyond this are taken back to zero, before floats lose the small differences.
constexpr float kLargeScore = 100000.0F;

// The sequence of pieces of the highest total score, by Viterbi's algorithm over bytes. Kudo (2018), "Subword
// Regularization".
//
// Many sequences have nearly the same score, so which one wins hangs on rounding: totals are kept in float from the
// start of the text, a piece's score is added in double, a later candidate wins only if it is greater than the rounded
// total.
class UnigramSegmenter : public Segmenter {
 public:
  explicit UnigramSegmenter(const PieceTable& table) : table_(table) {
    std::vector<std::pair<std::string_view, int32_t>> entries;
    float lowest = FLT_MAX;
    const std::vector<Piece>& pieces = table.model->pieces;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const auto id = static_cast<int32_t>(i);
      if (pieces[i].type == PieceType::kNormal) lowest = std::min(lowest, pieces[i].score);
      if (table.pieces.has(id)) entries.emplace_back(pieces[i].text, id);
    }
    CONCLAVE_USER_CHECK(!entries.empty(), "no piece can stand in a text");
    unknown_score_ = lowest - kUnknownPenalty;
    trie_ = ByteTrie(std::move(entries));
  }

  std::unique_ptr<Segmenter::Scratch> make_scratch() const override { return std::make_unique<Scratch>(); }

  void encode(std::string_view text, Segmenter::Scratch& base, std::vector<int32_t>& out) const override {
    auto& scratch = static_cast<Scratch&>(base);
    CONCLAVE_USER_CHECK(text.size() < INT32_MAX, "[data/tokenizer] a text of {} bytes is too long for one document",
                        text.size());
    scratch.ends.assign(text.size() + 1, Best{});
    size_t frontier = 0;  // the last byte that a sequence reaches so far
    for (size_t start = 0; start < text.size();) {
      if (std::fabs(scratch.ends[start].score) > kLargeScore) rebase(scratch.ends, start, frontier);
      const size_t character = std::min<size_t>(utf8::length_of(text[start]), text.size() - start);
      frontier = std::max(frontier, extend(text, start, character, scratch.ends));
      start += character;
    }
    scratch.path.clear();
    for (auto end = static_cast<int32_t>(text.size()); end > 0; end = scratch.ends[static_cast<size_t>(end)].start) {
      scratch.path.push_back(end);
    }
    IdWriter writer(table_, out);
    for (auto end = scratch.path.rbegin(); end != scratch.path.rend(); ++end) {
      const Best& best = scratch.ends[static_cast<size_t>(*end)];
      if (best.id == table_.unknown) {
        writer.unknown(text.substr(static_cast<size_t>(best.start), static_cast<size_t>(*end - best.start)));
      } else {
        writer.piece(best.id);
      }
    }
  }

 private:
  // The best sequence that ends at a byte.
  struct Best {
    float score = 0;
    int32_t start = -1;  ///< of its last piece
    int32_t id = -1;
  };
  struct Scratch : Segmenter::Scratch {
    std::vector<Best> ends;
    std::vector<int32_t> path;
  };
  const PieceTable& table_;
  ByteTrie trie_;
  float unknown_score_ = 0;

  // Tries every piece that begins at `start`, where a character of `character` bytes stands. Returns the last byte
  // reached.
  size_t extend(std::string_view text, size_t start, size_t character, std::vector<Best>& ends) const {
    const float so_far = ends[start].score;
    size_t reached = 0;
    bool character_known = false;
    int32_t node = ByteTrie::kRoot;
    for (size_t at = start; at < text.size();) {
      node = trie_.step(node, static_cast<unsigned char>(text[at]));
      if (node == ByteTrie::kNone) break;
      ++at;
      const int32_t id = trie_.value(node);
      if (id == ByteTrie::kNone || table_.type(id) == PieceType::kUnused) continue;
      reached = at;
      const size_t length = at - start;
      const float score = table_.type(id) == PieceType::kUserDefined
                              ? user_defined_score(length)
                              : table_.model->pieces[static_cast<size_t>(id)].score;
      consider(ends[at], score + so_far, start, id);
      if (length == character) character_known = true;
    }
    if (character_known) return reached;
    consider(ends[start + character], unknown_score_ + so_far, start, table_.unknown);
    return std::max(reached, start + character);
  }

  // Better than any normal piece, whose scores are logarithms of probabilities, and the better the fewer they are.
  static float user_defined_score(size_t length) { return static_cast<float>(0.1 * (static_cast<double>(length) - 1)); }

  static void consider(Best& best, float score, size_t start, int32_t id) {
    if (best.start < 0 || score > best.score) best = {score, static_cast<int32_t>(start), id};
  }

  static void rebase(std::vector<Best>& ends, size_t start, size_t frontier) {
    const float offset = ends[start].score;
    for (size_t i = start; i <= frontier; ++i) {
      if (i == start || ends[i].start >= 0) ends[i].score -= offset;
    }
  }
};

}  // namespace

std::unique_ptr<Segmenter> make_unigram_segmenter(const PieceTable& table) {
  return std::make_unique<UnigramSegmenter>(table);
}

}  // namespace conclave::sentencepiece
