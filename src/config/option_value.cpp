#include "config/option_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

FieldRef field_of(const Options& options, const OptionRow& row) {
  return row.field == nullptr ? FieldRef{} : row.field(const_cast<Options&>(options));
}

template <typename Number>
std::string plain_text(const Number& value) {
  if constexpr (std::is_same_v<Number, double>) return number_text(value);
  if constexpr (std::is_same_v<Number, int64_t>) return fmt::to_string(value);
  if constexpr (std::is_same_v<Number, bool>) return value ? "true" : "false";
  if constexpr (std::is_same_v<Number, std::string>) return value;
}

struct TextOf {
  std::string operator()(std::monostate) const { return {}; }
  template <typename Value>
  std::string operator()(Value* value) const {
    return plain_text(*value);
  }
  template <typename Value>
  std::string operator()(std::optional<Value>* value) const {
    return *value ? plain_text(**value) : std::string{};
  }
  template <typename Value>
  std::string operator()(std::vector<Value>* values) const {
    std::vector<std::string> parts;
    for (const Value& value : *values) parts.push_back(plain_text(value));
    return join(parts, " ");
  }
};

struct JsonOf {
  Json operator()(std::monostate) const { return {}; }
  template <typename Value>
  Json operator()(Value* value) const {
    return Json(*value);
  }
  template <typename Value>
  Json operator()(std::optional<Value>* value) const {
    return *value ? Json(**value) : Json();
  }
  template <typename Value>
  Json operator()(std::vector<Value>* values) const {
    Json list = Json::array();
    for (const Value& value : *values) list.push_back(Json(value));
    return list;
  }
};

// What is wrong with a number, or nothing.
std::optional<std::string> range_problem(const OptionRow& row, double value, std::string_view word) {
  const bool low = row.minimum && (row.minimum_excluded ? value <= *row.minimum : value < *row.minimum);
  const bool high = row.maximum && value > *row.maximum;
  if (!low && !high) return std::nullopt;
  std::string rule;
  if (row.minimum && row.maximum) {
    rule = fmt::format("between {} and {}", number_text(*row.minimum), number_text(*row.maximum));
  } else if (row.minimum_excluded) {
    rule = fmt::format("above {}", number_text(*row.minimum));
  } else {
    rule = fmt::format("at least {}", number_text(*row.minimum));
  }
  return fmt::format("--{} must be {}; got {}", row.key, rule, word);
}

// One word into one value of the row's type.
struct WordReader {
  const OptionRow& row;
  const std::string& word;
  std::optional<std::string> problem;

  void read(bool& out) {
    const auto value = parse_flag(word);
    if (value) {
      out = *value;
    } else {
      problem = fmt::format("--{} is a flag: true or false; got '{}'", row.key, word);
    }
  }
  void read(int64_t& out) {
    const auto value = parse_whole_number(word);
    if (value) {
      out = *value;
      problem = range_problem(row, static_cast<double>(*value), word);
      if (!problem && std::fabs(static_cast<double>(*value)) > row.ceiling) {
        problem = fmt::format("--{} must be at most {}; got {}", row.key, number_text(row.ceiling), word);
      }
    } else {
      problem = fmt::format("--{} needs a whole number (suffixes K, M, B, T, KiB, MiB, GiB are fine); got '{}'",
                            row.key, word);
    }
  }
  void read(double& out) {
    const auto value = parse_finite(word);
    if (value) {
      out = *value;
      problem = range_problem(row, *value, word);
    } else {
      problem = fmt::format("--{} needs a number; got '{}'", row.key, word);
    }
  }
  void read(std::string& out) {
    if (!row.choices.empty() && std::find(row.choices.begin(), row.choices.end(), word) == row.choices.end()) {
      problem = fmt::format("--{} must be one of: {}; got '{}'", row.key, join(row.choices, ", "), word);
      return;
    }
    out = word;
  }
};

std::vector<std::string> list_words(const OptionRow& row, const std::vector<std::string>& words) {
  if (row.type == OptionType::kStringList && row.choices.empty()) return words;
  return list_pieces(join(words, " "));
}

struct Assign {
  const OptionRow& row;
  const std::vector<std::string>& words;

  std::optional<std::string> one_word() const {
    if (words.size() == 1) return std::nullopt;
    return fmt::format("--{} takes one value; got {}", row.key, words.empty() ? "none" : join(words, " "));
  }
  std::optional<std::string> operator()(std::monostate) const {
    std::string text;
    int64_t whole = 0;
    double number = 0;
    bool flag = false;
    std::vector<int64_t> wholes;
    std::vector<double> numbers;
    std::vector<std::string> texts;
    switch (row.type) {
      case OptionType::kFlag:
        return (*this)(&flag);
      case OptionType::kInt:
        return (*this)(&whole);
      case OptionType::kFloat:
        return (*this)(&number);
      case OptionType::kString:
        return (*this)(&text);
      case OptionType::kIntList:
        return (*this)(&wholes);
      case OptionType::kFloatList:
        return (*this)(&numbers);
      case OptionType::kStringList:
        return (*this)(&texts);
    }
    return std::nullopt;
  }
  template <typename Value>
  std::optional<std::string> operator()(Value* out) const {
    if (auto problem = one_word()) return problem;
    WordReader reader{row, words[0], {}};
    reader.read(*out);
    return reader.problem;
  }
  template <typename Value>
  std::optional<std::string> operator()(std::optional<Value>* out) const {
    Value value{};
    auto problem = (*this)(&value);
    if (!problem) *out = std::move(value);
    return problem;
  }
  template <typename Value>
  std::optional<std::string> operator()(std::vector<Value>* out) const {
    const std::vector<std::string> pieces = list_words(row, words);
    if (pieces.size() < row.min_count || pieces.size() > row.max_count) {
      const std::string amount = row.min_count == row.max_count ? fmt::format("{} values", row.min_count)
                                 : row.min_count == 1           ? std::string("at least one value")
                                                      : fmt::format("{} to {} values", row.min_count, row.max_count);
      return fmt::format("--{} needs {}; got {}", row.key, amount, pieces.size());
    }
    std::vector<Value> values;
    for (const std::string& piece : pieces) {
      Value value{};
      WordReader reader{row, piece, {}};
      reader.read(value);
      if (reader.problem) return reader.problem;
      values.push_back(std::move(value));
    }
    *out = std::move(values);
    return std::nullopt;
  }
};

struct Copy {
  FieldRef from;
  void operator()(std::monostate) const {}
  template <typename Value>
  void operator()(Value* to) const {
    *to = *std::get<Value*>(from);
  }
};

}  // namespace

std::string option_text(const Options& options, const OptionRow& row) {
  return std::visit(TextOf{}, field_of(options, row));
}

Json option_json(const Options& options, const OptionRow& row) { return std::visit(JsonOf{}, field_of(options, row)); }

bool option_is_default(const Options& options, const OptionRow& row) {
  static const Options kDefaults;
  return option_json(options, row).dump() == option_json(kDefaults, row).dump();
}

void reset_option(Options& options, const OptionRow& row) {
  static const Options kDefaults;
  copy_option(kDefaults, options, row);
}

void copy_option(const Options& from, Options& to, const OptionRow& row) {
  std::visit(Copy{field_of(from, row)}, field_of(to, row));
}

std::optional<std::string> assign_option(Options& options, const OptionRow& row,
                                         const std::vector<std::string>& words) {
  return std::visit(Assign{row, words}, field_of(options, row));
}

std::optional<bool> parse_flag(std::string_view text) {
  for (const char* word : {"true", "True", "TRUE", "yes", "on", "1"}) {
    if (text == word) return true;
  }
  for (const char* word : {"false", "False", "FALSE", "no", "off", "0"}) {
    if (text == word) return false;
  }
  return std::nullopt;
}

std::optional<int64_t> parse_whole_number(std::string_view text) {
  if (const auto count = parse_count(text)) return count;
  const auto number = parse_finite(text);
  if (!number || *number != std::floor(*number) || std::fabs(*number) > 9e15) return std::nullopt;
  return static_cast<int64_t>(*number);
}

std::optional<double> parse_finite(std::string_view text) {
  const auto value = parse_double(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

std::vector<std::string> list_pieces(std::string_view text) {
  std::string blanks(trim(text));
  if (blanks.size() >= 2 &&
      ((blanks.front() == '(' && blanks.back() == ')') || (blanks.front() == '[' && blanks.back() == ']'))) {
    blanks = blanks.substr(1, blanks.size() - 2);
  }
  for (char& letter : blanks) {
    if (letter == ',') letter = ' ';
  }
  return split_words(blanks);
}

std::string number_text(double value) { return fmt::format("{}", value); }

}  // namespace conclave
