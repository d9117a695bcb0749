// How far a run is: a live bar with the time left on a terminal, a plain line now and then elsewhere.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace conclave {

/// What a bar shows.
struct ProgressState {
  int64_t done = 0;
  int64_t total = 0;
  std::string unit = "step";
  std::optional<double> seconds_left;
  std::string note;  ///< e.g. "lm loss 3.21, 1.5K tokens/s"
};

/// One line of at most `width` columns: "step  120/1000 [####------]  12% | lm loss 3.21 | 3m 02s left". Pure.
std::string progress_bar_text(const ProgressState& state, int64_t width);
/// "step 120/1000 (12.0 %) | lm loss 3.21 | 3m 02s left". Pure.
std::string progress_plain_text(const ProgressState& state);

/// Time left from the times of the units so far; recent ones count more.
class RemainingTime {
 public:
  /// `seconds` since the start of the run, when `done` units were done.
  void update(int64_t done, double seconds);
  std::optional<double> seconds_left(int64_t total) const;

 private:
  int64_t done_ = 0;
  double seconds_ = 0;
  double per_unit_ = 0;
  bool started_ = false;
  bool measured_ = false;
};

/// Draws on standard error. Lines for people that are printed meanwhile go through print_line() or the log, so that
/// they do not run into the bar. All calls from one thread, except the log's.
class ProgressDisplay {
 public:
  enum class Mode { kBar, kPlain, kOff };
  /// "auto" (a bar if standard error is a terminal, else plain), "bar", "plain", "off".
  static Mode mode_from_option(std::string_view option);

  explicit ProgressDisplay(Mode mode);
  ~ProgressDisplay();
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  /// Call it as often as you like: a bar is drawn at most ten times a second, a plain line comes at most every 30
  /// seconds. `state.seconds_left` is filled in.
  void update(ProgressState state);
  /// A line on standard output, above the bar.
  void print_line(std::string_view text);
  /// Takes the bar away.
  void finish();

 private:
  Mode mode_;
  RemainingTime remaining_;
  Stopwatch run_;
  double last_shown_ = 0;  // seconds on `run_`
  bool shown_once_ = false;
  std::mutex mutex_;
  bool on_screen_ = false;  // guarded by mutex_

  void clear();
};

}  // namespace conclave
