#include "data/tokenizer/sentencepiece/text_normalizer.h"

#include "data/tokenizer/space_mark.h"

namespace conclave::sentencepiece {

TextNormalizer::TextNormalizer(const NormalizerSpec& spec, DummyBlank dummy, const ByteTrie& kept)
    : rules_(spec.charsmap),
      dummy_(spec.add_dummy_prefix),
      squeeze_(spec.remove_extra_whitespaces),
      blank_(spec.escape_whitespaces ? kSpaceMark : " "),
      where_(dummy),
      kept_(kept) {}

Charsmap::Step TextNormalizer::next(std::string_view text) const {
  if (!kept_.empty()) {
    const ByteTrie::Match match = kept_.longest(text);
    if (match.length > 0) return {text.substr(0, match.length), match.length};
  }
  return rules_.next(text);
}

void TextNormalizer::append(std::string_view text, std::string& out) const {
  for (const char c : text) {
    if (c == ' ') {
      out += blank_;
    } else {
      out += c;
    }
  }
}

void TextNormalizer::apply(std::string_view text, std::string& out) const {
  out.clear();
  if (squeeze_) {
    while (!text.empty()) {
      const Charsmap::Step step = next(text);
      if (step.text != " ") break;
      text.remove_prefix(step.length);
    }
  }
  if (text.empty()) return;
  if (dummy_ && where_ == DummyBlank::kInFront) out += blank_;
  bool after_blank = squeeze_;
  while (!text.empty()) {
    Charsmap::Step step = next(text);
    text.remove_prefix(step.length);
    while (after_blank && step.text.starts_with(' ')) step.text.remove_prefix(1);
    if (step.text.empty()) continue;
    append(step.text, out);
    after_blank = squeeze_ && step.text.ends_with(' ');
  }
  if (squeeze_) {
    while (out.ends_with(blank_)) out.resize(out.size() - blank_.size());
  }
  if (dummy_ && where_ == DummyBlank::kBehind) out += blank_;
}

}  // namespace conclave::sentencepiece
