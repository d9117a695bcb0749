#include "config/yaml.h"

#include <yaml-cpp/yaml.h>

#include <set>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxBytes = 1 << 20;
constexpr int64_t kMaxValues = 100000;

[[noreturn]] void fail(std::string_view what, const YAML::Mark& mark, std::string_view fault) {
  if (mark.is_null()) throw_user(fmt::format("{}: {}", what, fault));
  throw_user(fmt::format("{}: line {}, column {}: {}", what, mark.line + 1, mark.column + 1, fault));
}

// Aliases may name a node again and again, so the number of values is bounded, not only the size of the text.
class Converter {
 public:
  explicit Converter(std::string_view what) : what_(what) {}

  Json convert(const YAML::Node& node, int depth) {
    if (depth > kMaxDepth) fail(what_, node.Mark(), "groups nested too deeply");
    if (++values_ > kMaxValues) fail(what_, node.Mark(), "too many values");
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return {};
      case YAML::NodeType::Scalar:
        return Json(node.Scalar());
      case YAML::NodeType::Sequence: {
        Json list = Json::array();
        for (const YAML::Node& item : node) list.push_back(convert(item, depth + 1));
        return list;
      }
      case YAML::NodeType::Map:
        break;
    }
    Json object = Json::object();
    for (const auto& item : node) {
      if (!item.first.IsScalar()) fail(what_, item.first.Mark(), "a key must be the name of an option");
      object[item.first.Scalar()] = convert(item.second, depth + 1);
    }
    return object;
  }

 private:
  std::string_view what_;
  int64_t values_ = 0;
};

}  // namespace

Json yaml_to_json(std::string_view text, std::string_view what) {
  CONCLAVE_USER_CHECK(text.size() <= kMaxBytes, "{}: a file of options may have 1 MiB; got {} bytes", what,
                      text.size());
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (root.IsNull() || !root.IsDefined()) return Json::object();
    if (!root.IsMap()) fail(what, root.Mark(), "options are written as 'key: value' lines");
    return Converter(what).convert(root, 0);
  } catch (const YAML::Exception& error) {
    fail(what, error.mark, error.msg);
  }
}

std::string yaml_scalar(std::string_view text) {
  static const std::set<std::string_view> reserved = {"",   "~",  "null", "Null", "NULL",  "true", "false", "yes",
                                                      "no", "on", "off",  "True", "False", "y",    "n"};
  const bool plain = !reserved.contains(text) && text.find_first_not_of(
                                                     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./"
                                                     "+") == std::string_view::npos;
  return plain ? std::string(text) : Json(text).dump();
}

}  // namespace conclave
