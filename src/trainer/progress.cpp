#include "trainer/progress.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

namespace conclave {
namespace {

constexpr double kBarSeconds = 0.1;
constexpr double kPlainSeconds = 30;
constexpr int64_t kBarColumns = 24;

double fraction_of(const ProgressState& state) {
  if (state.total <= 0) return 0;
  return std::clamp(static_cast<double>(state.done) / static_cast<double>(state.total), 0.0, 1.0);
}

std::string tail_of(const ProgressState& state) {
  std::string out;
  if (!state.note.empty()) out += fmt::format(" | {}", state.note);
  if (state.seconds_left) out += fmt::format(" | {} left", human_seconds(*state.seconds_left));
  return out;
}

int64_t terminal_columns() {
  struct winsize size {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void write_to(std::FILE* stream, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

}  // namespace

std::string progress_bar_text(const ProgressState& state, int64_t width) {
  const double fraction = fraction_of(state);
  const auto filled = static_cast<size_t>(std::lround(fraction * static_cast<double>(kBarColumns)));
  const std::string total = std::to_string(state.total);
  std::string out = fmt::format("{} {:>{}}/{} [{}{}] {:3.0f}%{}", state.unit, state.done, total.size(), total,
                                std::string(filled, '#'), std::string(kBarColumns - filled, '-'),
                                std::floor(fraction * 100), tail_of(state));
  if (static_cast<int64_t>(out.size()) > width) out.resize(static_cast<size_t>(std::max<int64_t>(width, 0)));
  return out;
}

std::string progress_plain_text(const ProgressState& state) {
  return fmt::format("{} {}/{} ({:.1f} %){}", state.unit, state.done, state.total, fraction_of(state) * 100,
                     tail_of(state));
}

void RemainingTime::update(int64_t done, double seconds) {
  if (started_ && done <= done_) return;
  if (started_) {
    const auto units = static_cast<double>(done - done_);
    const double latest = (seconds - seconds_) / units;
    // Weights fall to 1/e over about 30 units; the first measurement stands alone.
    const double weight = measured_ ? 1 - std::exp(-units / 30) : 1;
    per_unit_ += weight * (latest - per_unit_);
    measured_ = true;
  }
  started_ = true;
  done_ = done;
  seconds_ = seconds;
}

std::optional<double> RemainingTime::seconds_left(int64_t total) const {
  if (!measured_) return std::nullopt;
  return per_unit_ * static_cast<double>(std::max<int64_t>(total - done_, 0));
}

ProgressDisplay::Mode ProgressDisplay::mode_from_option(std::string_view option) {
  if (option == "auto") return ::isatty(STDERR_FILENO) == 1 ? Mode::kBar : Mode::kPlain;
  if (option == "bar") return Mode::kBar;
  if (option == "plain") return Mode::kPlain;
  CONCLAVE_USER_CHECK(option == "off", "--progress is '{}'; choose auto, bar, plain or off", option);
  return Mode::kOff;
}

ProgressDisplay::ProgressDisplay(Mode mode) : mode_(mode) {
  if (mode_ == Mode::kBar) set_before_log_line([this] { clear(); });
}

ProgressDisplay::~ProgressDisplay() {
  finish();
  if (mode_ == Mode::kBar) set_before_log_line(nullptr);
}

void ProgressDisplay::clear() {
  const std::lock_guard lock(mutex_);
  if (on_screen_) write_to(stderr, "\r\x1b[K");
  on_screen_ = false;
}

void ProgressDisplay::update(ProgressState state) {
  const double now = run_.seconds();
  remaining_.update(state.done, now);
  if (mode_ == Mode::kOff) return;
  state.seconds_left = remaining_.seconds_left(state.total);
  const double wait = mode_ == Mode::kBar ? kBarSeconds : kPlainSeconds;
  const bool at_once = mode_ == Mode::kBar && (!shown_once_ || state.done == state.total);
  if (now - last_shown_ < wait && !at_once) return;
  last_shown_ = now;
  shown_once_ = true;
  if (mode_ == Mode::kPlain) {
    write_to(stderr, fmt::format("{}\n", progress_plain_text(state)));
    return;
  }
  const std::lock_guard lock(mutex_);
  write_to(stderr, fmt::format("\r{}\x1b[K", progress_bar_text(state, terminal_columns() - 1)));
  on_screen_ = true;
}

void ProgressDisplay::print_line(std::string_view text) {
  clear();
  write_to(stdout, fmt::format("{}\n", text));
  if (mode_ == Mode::kPlain) last_shown_ = run_.seconds();  // the line told how far it is
}

void ProgressDisplay::finish() { clear(); }

}  // namespace conclave
