// Log lines for people, on standard error: "[12:34:56] text". Metrics and results do not go through here.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <string>
#include <string_view>

namespace conclave {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

void set_log_level(LogLevel level);
/// "debug", "info", "warning", "error", "off"; InternalError for another word.
LogLevel log_level_of(std::string_view name);
/// Put before every line, e.g. "rank 3: "; empty by default.
void set_log_prefix(std::string prefix);
/// Called before each line that is written, from the thread that writes it; for a progress bar that must make way.
/// Empty: nothing.
void set_before_log_line(std::function<void()> call);
/// From now on this thread's lines are dropped, save errors: one rank speaks for all.
void set_quiet_thread(bool quiet);
/// The same while it lives.
class QuietThread {
 public:
  QuietThread() { set_quiet_thread(true); }
  ~QuietThread() { set_quiet_thread(false); }
  QuietThread(const QuietThread&) = delete;
  QuietThread& operator=(const QuietThread&) = delete;
};
void log_line(LogLevel level, std::string_view text);

template <typename... Values>
void log_debug(fmt::format_string<Values...> text, Values&&... values) {
  log_line(LogLevel::kDebug, fmt::format(text, std::forward<Values>(values)...));
}
template <typename... Values>
void log_info(fmt::format_string<Values...> text, Values&&... values) {
  log_line(LogLevel::kInfo, fmt::format(text, std::forward<Values>(values)...));
}
template <typename... Values>
void log_warning(fmt::format_string<Values...> text, Values&&... values) {
  log_line(LogLevel::kWarning, fmt::format(text, std::forward<Values>(values)...));
}

}  // namespace conclave
