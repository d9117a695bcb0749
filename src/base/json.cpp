#include "base/json.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace conclave {
namespace {

constexpr size_t kMaxDepth = 256;

const char* kind_name(Json::Kind kind) {
  constexpr const char* kNames[] = {"null", "a boolean", "an integer", "a number", "a string", "an array", "an object"};
  return kNames[static_cast<int>(kind)];
}

[[noreturn]] void wrong_kind(const char* expected, const Json& got) {
  std::string text = got.dump();
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  throw_user(fmt::format("JSON: expected {}, found {}: {}", expected, kind_name(got.kind()), text));
}

// Builds Json values from the parser's events, so that no second tree ever stands in memory.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(std::string_view text) : text_(text) {}
  Json take() { return std::move(root_); }
  std::string error;

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(static_cast<int64_t>(value))); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(INT64_MAX)) return add(Json(static_cast<double>(value)));
    return add(Json(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(static_cast<double>(value))); }
  bool string(string_t& value) override { return add(Json(std::move(value))); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool key(string_t& value) override {
    keys_.back() = std::move(value);
    return true;
  }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& problem) override {
    size_t line = 1, column = 1;
    for (size_t i = 0; i + 1 < position && i < text_.size(); ++i) {
      if (text_[i] == '\n') {
        ++line;
        column = 1;
      } else {
        ++column;
      }
    }
    std::string detail = problem.what();
    if (const size_t cut = detail.find(": "); cut != std::string::npos) detail = detail.substr(cut + 2);
    if (error.empty()) error = fmt::format("line {}, column {}: {}", line, column, detail);
    return false;
  }

 private:
  std::string_view text_;
  Json root_;
  std::vector<Json> open_;
  std::vector<std::string> keys_;

  bool add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().is_array()) {
      open_.back().push_back(std::move(value));
    } else {
      const_cast<Json::Object&>(open_.back().as_object()).emplace_back(std::move(keys_.back()), std::move(value));
    }
    return true;
  }
  bool open(Json value) {
    if (open_.size() >= kMaxDepth) {
      error = fmt::format("nested more than {} deep", kMaxDepth);
      return false;
    }
    open_.push_back(std::move(value));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    Json done = std::move(open_.back());
    open_.pop_back();
    keys_.pop_back();
    return add(std::move(done));
  }
};

void dump_string(std::string& out, const std::string& text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<int>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void dump_double(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    return;
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  const std::string_view text(buffer, static_cast<size_t>(end - buffer));
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";  // stays a float when read back
}

}  // namespace

Json Json::object() {
  Json result;
  result.value_ = std::make_shared<Object>();
  return result;
}

bool Json::as_bool() const {
  if (!is_bool()) wrong_kind("a boolean", *this);
  return std::get<bool>(value_);
}

int64_t Json::as_int() const {
  if (is_int()) return std::get<int64_t>(value_);
  if (kind() == Kind::kFloat) {
    const double value = std::get<double>(value_);
    if (value == std::floor(value) && std::fabs(value) < 9007199254740992.0) return static_cast<int64_t>(value);
  }
  wrong_kind("an integer", *this);
}

double Json::as_double() const {
  if (is_int()) return static_cast<double>(std::get<int64_t>(value_));
  if (kind() != Kind::kFloat) wrong_kind("a number", *this);
  return std::get<double>(value_);
}

const std::string& Json::as_string() const {
  if (!is_string()) wrong_kind("a string", *this);
  return std::get<std::string>(value_);
}

const Json::Array& Json::as_array() const {
  if (!is_array()) wrong_kind("an array", *this);
  return std::get<Array>(value_);
}

const Json::Object& Json::as_object() const {
  if (!is_object()) wrong_kind("an object", *this);
  return *std::get<std::shared_ptr<Object>>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, value] : as_object()) {
    if (name == key) return &value;
  }
  return nullptr;
}

const Json& Json::at(std::string_view key) const {
  if (!is_object()) wrong_kind(fmt::format("an object with key '{}'", key).c_str(), *this);
  const Json* found = find(key);
  CONCLAVE_USER_CHECK(found != nullptr, "JSON: key '{}' is missing", key);
  return *found;
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) *this = object();
  if (!is_object()) wrong_kind("an object", *this);
  auto& shared = std::get<std::shared_ptr<Object>>(value_);
  if (shared.use_count() > 1) shared = std::make_shared<Object>(*shared);  // values, not references
  for (auto& [name, value] : *shared) {
    if (name == key) return value;
  }
  return shared->emplace_back(std::string(key), Json()).second;
}

size_t Json::size() const {
  if (is_array()) return as_array().size();
  return as_object().size();
}

const Json& Json::at(size_t index) const {
  const Array& items = as_array();
  CONCLAVE_USER_CHECK(index < items.size(), "JSON: array has {} entries, entry {} was asked for", items.size(), index);
  return items[index];
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array{};
  if (!is_array()) wrong_kind("an array", *this);
  std::get<Array>(value_).push_back(std::move(value));
}

Json Json::parse(std::string_view text, std::string_view what) {
  Builder builder(text);
  const bool good = nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  CONCLAVE_USER_CHECK(good, "{}: not valid JSON: {}", what, builder.error);
  return builder.take();
}

std::string Json::dump(int indent) const {
  std::string out;
  dump_to(out, indent, 0);
  return out;
}

void Json::dump_to(std::string& out, int indent, int level) const {
  const auto line = [&](int depth) {
    if (indent >= 0) out += '\n' + std::string(static_cast<size_t>(indent * depth), ' ');
  };
  switch (kind()) {
    case Kind::kNull:
      out += "null";
      return;
    case Kind::kBool:
      out += as_bool() ? "true" : "false";
      return;
    case Kind::kInt:
      out += std::to_string(as_int());
      return;
    case Kind::kFloat:
      dump_double(out, as_double());
      return;
    case Kind::kString:
      dump_string(out, as_string());
      return;
    case Kind::kArray: {
      out += '[';
      bool first = true;
      for (const Json& item : as_array()) {
        if (!first) out += ',';
        first = false;
        line(level + 1);
        item.dump_to(out, indent, level + 1);
      }
      if (!first) line(level);
      out += ']';
      return;
    }
    case Kind::kObject: {
      out += '{';
      bool first = true;
      for (const auto& [key, value] : as_object()) {
        if (!first) out += ',';
        first = false;
        line(level + 1);
        dump_string(out, key);
        out += indent >= 0 ? ": " : ":";
        value.dump_to(out, indent, level + 1);
      }
      if (!first) line(level);
      out += '}';
      return;
    }
  }
}

}  // namespace conclave
