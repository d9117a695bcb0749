// Reading a Hugging Face config.json: every key is either understood or refused, and all faults are said at once.
#pragma once

#include <fmt/core.h>

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace conclave {

class ConfigReader {
 public:
  /// `what` names the source in messages.
  ConfigReader(const Json& config, std::string what);

  /// The value, or nullptr if the key is absent or null. The key counts as understood from then on.
  const Json* find(std::string_view key);
  bool has(std::string_view key) { return find(key) != nullptr; }
  /// Whether the key stands there, null or not.
  bool contains(std::string_view key) const { return config_.contains(key); }

  // Values of a kind; a wrong kind or a missing required key is noted as a fault, and a harmless value returned.
  int64_t integer(std::string_view key);                     ///< required, at least 1
  int64_t integer(std::string_view key, int64_t otherwise);  ///< at least 0
  double number(std::string_view key, double otherwise);
  bool flag(std::string_view key, bool otherwise);
  std::string text(std::string_view key, std::string otherwise);

  /// Keys that do not change the mathematics.
  void ignore(std::initializer_list<std::string_view> keys);
  template <typename... Values>
  void refuse(fmt::format_string<Values...> text, Values&&... values) {
    faults_.push_back(fmt::format(text, std::forward<Values>(values)...));
  }
  void warn(std::string text) { warnings_.push_back(std::move(text)); }

  /// Throws UserError with every fault, and every key that nobody understood.
  void finish();
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  const Json& config_;
  std::string what_;
  std::set<std::string, std::less<>> known_;
  std::vector<std::string> faults_, warnings_;
};

}  // namespace conclave
