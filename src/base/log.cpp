#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <mutex>

#include "base/error.h"

namespace conclave {
namespace {

struct Log {
  std::shared_ptr<spdlog::logger> logger;
  std::mutex mutex;
  std::string prefix;
  std::function<void()> before_line;
  Log() : logger(spdlog::stderr_color_mt("conclave")) {
    logger->set_pattern("%^[%T]%$ %v");
    logger->flush_on(spdlog::level::info);
  }
};

Log& log() {
  static Log instance;
  return instance;
}

spdlog::level::level_enum native(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

thread_local bool quiet_thread = false;

}  // namespace

void set_quiet_thread(bool quiet) { quiet_thread = quiet; }

void set_log_level(LogLevel level) { log().logger->set_level(native(level)); }

LogLevel log_level_of(std::string_view name) {
  constexpr std::string_view kNames[] = {"debug", "info", "warning", "error", "off"};
  for (int i = 0; i < 5; ++i) {
    if (name == kNames[i]) return static_cast<LogLevel>(i);
  }
  throw InternalError(fmt::format("'{}' is no log level", name));
}

void set_log_prefix(std::string prefix) {
  const std::lock_guard lock(log().mutex);
  log().prefix = std::move(prefix);
}

void set_before_log_line(std::function<void()> call) {
  const std::lock_guard lock(log().mutex);
  log().before_line = std::move(call);
}

void log_line(LogLevel level, std::string_view text) {
  if (!log().logger->should_log(native(level)) || (quiet_thread && level < LogLevel::kError)) return;
  std::string line;
  {
    const std::lock_guard lock(log().mutex);
    line = log().prefix;
    if (log().before_line) log().before_line();
  }
  if (level == LogLevel::kWarning) line += "warning: ";
  if (level == LogLevel::kError) line += "error: ";
  line += text;
  log().logger->log(native(level), "{}", line);
}

}  // namespace conclave
