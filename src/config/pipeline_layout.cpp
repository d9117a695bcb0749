#include "config/pipeline_layout.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

constexpr size_t kMaxLength = 1 << 20;
constexpr std::string_view kOption = "--pipeline-model-parallel-layout";

[[noreturn]] void fail(std::string_view text, std::string_view rule) {
  throw_user(
      fmt::format("{}: {}; got '{}'; write stages such as \"Et*3|(tt|)*29,m|L\"", kOption, rule, text.substr(0, 200)));
}

// The number at `place`, which is moved behind it; nothing if there are no digits.
std::optional<int64_t> count_at(std::string_view text, size_t& place) {
  const size_t start = place;
  while (place < text.size() && text[place] >= '0' && text[place] <= '9') ++place;
  return start == place ? std::nullopt : parse_int(text.substr(start, std::min<size_t>(place - start, 19)));
}

void repeat(std::string& out, std::string_view piece, int64_t times, std::string_view text) {
  if (!piece.empty() && times > static_cast<int64_t>((kMaxLength - std::min(out.size(), kMaxLength)) / piece.size())) {
    fail(text, "it becomes too long");
  }
  for (int64_t i = 0; i < times; ++i) out += piece;
}

std::string expand_groups(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == ')') fail(text, "a ')' has no '('");
    if (text[i] != '(') {
      out += text[i++];
      continue;
    }
    const size_t close = text.find_first_of("()", i + 1);
    if (close == std::string_view::npos) fail(text, "a '(' is not closed");
    if (text[close] == '(') fail(text, "parentheses may not be nested");
    const std::string_view inner = text.substr(i + 1, close - i - 1);
    if (inner.empty()) fail(text, "parentheses may not be empty");
    i = close + 1;
    if (i >= text.size() || text[i] != '*') fail(text, "a repeat count '*N' must follow ')'");
    const auto times = count_at(text, ++i);
    if (!times) fail(text, "a number must follow '*'");
    repeat(out, inner, *times, text);
  }
  return out;
}

// `c*n`, once over the text.
std::string expand_characters(std::string_view text, std::string_view original) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char symbol = text[i++];
    if (symbol == '*') fail(original, "a '*' must follow one symbol or a parenthesis");
    if (i >= text.size() || text[i] != '*') {
      out += symbol;
      continue;
    }
    const auto times = count_at(text, ++i);
    if (!times) fail(original, "a number must follow '*'");
    repeat(out, std::string_view(&symbol, 1), *times, original);
  }
  return out;
}

}  // namespace

int64_t PipelineLayout::count(char symbol) const {
  int64_t total = 0;
  for (const std::string& stage : stages) total += std::count(stage.begin(), stage.end(), symbol);
  return total;
}

PipelineLayout parse_pipeline_layout(std::string_view text) {
  if (text.size() > kMaxLength) fail(text, "it is too long");
  const std::string flat = expand_characters(expand_groups(replace_all(text, ",", "")), text);
  const size_t other = flat.find_first_not_of("EtmL|");
  if (other != std::string::npos) {
    fail(text,
         fmt::format("stages hold E (embedding), t (decoder), m (prediction), L (loss) only, not '{}'", flat[other]));
  }
  PipelineLayout layout{split(flat, '|')};
  const std::string symbols = replace_all(flat, "|", "");
  if (symbols.empty()) fail(text, "it is empty");
  if (symbols.front() != 'E' || layout.count('E') != 1) fail(text, "it must begin with its only E");
  if (symbols.back() != 'L' || layout.count('L') != 1) fail(text, "it must end with its only L");
  return layout;
}

void check_pipeline_layout(const PipelineLayout& layout, const PipelineLayoutUse& use) {
  const auto stages = static_cast<int64_t>(layout.stages.size());
  CONCLAVE_USER_CHECK(stages % use.pipeline_size == 0,
                      "{} must have a multiple of --pipeline-model-parallel-size stages; got {} stages for {} ranks; "
                      "separate stages by '|'",
                      kOption, stages, use.pipeline_size);
  const int64_t chunks = stages / use.pipeline_size;
  CONCLAVE_USER_CHECK(!use.virtual_size || *use.virtual_size == chunks,
                      "{} gives each rank {} chunks; got a virtual size of {} as well; leave that one out", kOption,
                      chunks, use.virtual_size.value_or(0));
  CONCLAVE_USER_CHECK(layout.count('t') == use.num_layers,
                      "{} must hold one t for each of --num-layers; got {} and {}; change one of them", kOption,
                      layout.count('t'), use.num_layers);
  CONCLAVE_USER_CHECK(layout.count('m') == use.mtp_num_layers,
                      "{} must hold one m for each of --mtp-num-layers; got {} and {}; change one of them", kOption,
                      layout.count('m'), use.mtp_num_layers);
  std::vector<int64_t> with_mtp;
  bool seen = false;
  for (int64_t i = 0; i < stages; ++i) {
    for (const char symbol : layout.stages[static_cast<size_t>(i)]) {
      CONCLAVE_USER_CHECK(symbol != 't' || !seen, "{}: no t may follow an m; got one in stage {}; put m behind all t",
                          kOption, i);
      seen = seen || symbol == 'm';
    }
    if (layout.stages[static_cast<size_t>(i)].find('m') != std::string::npos) with_mtp.push_back(i);
  }
  if (with_mtp.empty()) return;
  CONCLAVE_USER_CHECK(with_mtp.size() == 1, "{}: every m must be in one stage; got m in {} stages; put them together",
                      kOption, with_mtp.size());
  CONCLAVE_USER_CHECK(with_mtp[0] / use.pipeline_size == chunks - 1,
                      "{}: m must be in the last chunk of its rank; got it in chunk {} of {}; move it behind", kOption,
                      with_mtp[0] / use.pipeline_size, chunks);
}

}  // namespace conclave
