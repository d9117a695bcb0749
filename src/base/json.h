// A JSON value: parsing hostile input, writing, and checked access. The parser underneath appears in json.cpp alone.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace conclave {

class Json {
 public:
  enum class Kind { kNull, kBool, kInt, kFloat, kString, kArray, kObject };
  using Array = std::vector<Json>;
  /// Keeps the order of the file; find() is linear, so walk as_object() once where there are many keys.
  using Object = std::vector<std::pair<std::string, Json>>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(static_cast<int64_t>(value)) {}
  Json(int64_t value) : value_(value) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(Array value) : value_(std::move(value)) {}
  static Json array() { return Json(Array{}); }
  static Json object();

  Kind kind() const { return static_cast<Kind>(value_.index()); }
  bool is_null() const { return kind() == Kind::kNull; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_int() const { return kind() == Kind::kInt; }
  bool is_number() const { return kind() == Kind::kInt || kind() == Kind::kFloat; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_array() const { return kind() == Kind::kArray; }
  bool is_object() const { return kind() == Kind::kObject; }

  // Checked access: throws UserError saying what was expected and what stands there.
  bool as_bool() const;
  int64_t as_int() const;    ///< also takes a float without a fraction
  double as_double() const;  ///< also takes an int
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;

  // Objects.
  const Json* find(std::string_view key) const;  ///< nullptr if absent (or not an object)
  const Json& at(std::string_view key) const;    ///< throws UserError naming the key
  Json& operator[](std::string_view key);        ///< inserts; makes a null an object
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  // Arrays.
  size_t size() const;
  const Json& at(size_t index) const;
  void push_back(Json value);

  /// Throws UserError "WHAT: line L, column C: ..." on bad input. Depth is limited to 256. NaN and infinities are
  /// refused.
  static Json parse(std::string_view text, std::string_view what);
  /// Compact (indent < 0) or indented text. Floats are the shortest that read back to the same bits; non-finite ones
  /// become the strings "NaN", "Infinity", "-Infinity".
  std::string dump(int indent = -1) const;

 private:
  std::variant<std::monostate, bool, int64_t, double, std::string, Array, std::shared_ptr<Object>> value_;
  void dump_to(std::string& out, int indent, int level) const;
};

}  // namespace conclave
