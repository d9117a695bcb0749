#include "config/list_expression.h"

#include <charconv>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

struct Value {
  bool is_list = false;
  int64_t number = 0;
  std::vector<int64_t> list;
};

class Parser {
 public:
  Parser(std::string_view text, std::string_view what, int64_t max_length)
      : text_(text), what_(what), max_length_(max_length) {}

  Value parse() {
    Value value = sum();
    skip_blanks();
    if (place_ < text_.size()) fail("unexpected text");
    return value;
  }

 private:
  std::string_view text_;
  std::string_view what_;
  int64_t max_length_;
  size_t place_ = 0;
  int depth_ = 0;

  [[noreturn]] void fail(std::string_view fault) const {
    throw_user(fmt::format("{}: {} at character {} of '{}'; write a list such as \"[0,1,1]\" or \"([0]*3+[1]*58)\"",
                           what_, fault, place_ + 1, text_.substr(0, 200)));
  }
  void skip_blanks() {
    while (place_ < text_.size() && (text_[place_] == ' ' || text_[place_] == '\t')) ++place_;
  }
  bool accept(char letter) {
    skip_blanks();
    if (place_ >= text_.size() || text_[place_] != letter) return false;
    ++place_;
    return true;
  }
  Value sum() {
    if (++depth_ > 64) fail("brackets nested too deeply");
    Value left = product();
    while (accept('+')) left = add(std::move(left), product());
    --depth_;
    return left;
  }
  Value product() {
    Value left = factor();
    while (accept('*')) left = multiply(std::move(left), factor());
    return left;
  }
  Value factor() {
    if (accept('(')) {
      Value inner = sum();
      if (!accept(')')) fail("')' is missing");
      return inner;
    }
    if (accept('[')) return items();
    Value value;
    value.number = number();
    return value;
  }
  Value items() {
    Value value;
    value.is_list = true;
    if (accept(']')) return value;
    do {
      skip_blanks();
      if (place_ < text_.size() && text_[place_] == ']') break;
      value.list.push_back(number());
      check_length(value.list.size());
    } while (accept(','));
    if (!accept(']')) fail("']' is missing");
    return value;
  }
  int64_t number() {
    skip_blanks();
    int64_t value = 0;
    const auto result = std::from_chars(text_.data() + place_, text_.data() + text_.size(), value);
    if (result.ec != std::errc()) fail("a number or a bracket is missing");
    place_ = static_cast<size_t>(result.ptr - text_.data());
    return value;
  }
  void check_length(size_t length) const {
    if (static_cast<int64_t>(length) > max_length_) fail("the list becomes too long");
  }
  Value add(Value left, Value right) const {
    if (left.is_list != right.is_list) fail("a list and a number cannot be added");
    if (!left.is_list) {
      if (__builtin_add_overflow(left.number, right.number, &left.number)) fail("the number becomes too large");
      return left;
    }
    check_length(left.list.size() + right.list.size());
    left.list.insert(left.list.end(), right.list.begin(), right.list.end());
    return left;
  }
  Value multiply(Value left, Value right) const {
    if (left.is_list && right.is_list) fail("two lists cannot be multiplied");
    if (right.is_list) std::swap(left, right);
    if (!left.is_list) {
      if (__builtin_mul_overflow(left.number, right.number, &left.number)) fail("the number becomes too large");
      return left;
    }
    if (right.number < 0) fail("a list cannot be repeated a negative number of times");
    if (!left.list.empty() && right.number > max_length_ / static_cast<int64_t>(left.list.size())) {
      fail("the list becomes too long");
    }
    Value out;
    out.is_list = true;
    for (int64_t i = 0; i < right.number && !left.list.empty(); ++i) {
      out.list.insert(out.list.end(), left.list.begin(), left.list.end());
    }
    return out;
  }
};

}  // namespace

std::vector<int64_t> parse_list_expression(std::string_view text, std::string_view what, int64_t max_length) {
  Value value = Parser(text, what, max_length).parse();
  CONCLAVE_USER_CHECK(value.is_list, "{} must be a list; got '{}'; write a list such as \"[0,1,1]\"", what, text);
  return std::move(value.list);
}

std::vector<bool> every_nth_layer(std::string_view text, int64_t num_layers, std::string_view what) {
  std::vector<bool> layers(static_cast<size_t>(num_layers));
  if (const auto step = parse_int(trim(text))) {
    CONCLAVE_USER_CHECK(*step >= 1, "{} must be at least 1; got {}; write 1 for every layer", what, *step);
    for (int64_t i = 0; i < num_layers; ++i) layers[static_cast<size_t>(i)] = i % *step == 0;
    return layers;
  }
  const std::vector<int64_t> list = parse_list_expression(text, what);
  CONCLAVE_USER_CHECK(static_cast<int64_t>(list.size()) == num_layers,
                      "{} must name every layer; got {} entries for {} layers; make the list {} long", what,
                      list.size(), num_layers, num_layers);
  for (size_t i = 0; i < list.size(); ++i) {
    CONCLAVE_USER_CHECK(list[i] == 0 || list[i] == 1,
                        "{} may hold 0 and 1 only; got {} for layer {}; change that entry", what, list[i], i);
    layers[i] = list[i] == 1;
  }
  return layers;
}

}  // namespace conclave
