// Results that are sound numbers but far from all that came before, and the file that remembers what was rejected.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/json.h"

namespace conclave {

/// Finds values at least kFactor times the largest of the first kSamples good ones.
class JumpCheck {
 public:
  static constexpr int64_t kSamples = 100;
  static constexpr double kFactor = 10;

  /// Never before kSamples values were learned.
  bool jumps(double value) const { return learned_ >= kSamples && value >= limit(); }
  double limit() const { return kFactor * largest_; }
  /// A good value; after kSamples there is nothing more to learn.
  void learn(double value);

  Json to_json() const;
  static JumpCheck from_json(const Json& json);

 private:
  int64_t learned_ = 0;
  double largest_ = 0;
};

/// Whether steps give the same results when they are run again (--rerun-mode report_stats).
class RepeatStatistics {
 public:
  void add(double first, double again);
  bool empty() const { return values_ == 0; }
  /// "12 of 12 results were the same to the bit when their step was run again".
  std::string text() const;

 private:
  int64_t values_ = 0, same_ = 0;
  double largest_difference_ = 0;  ///< relative
};

/// What became of a rejected result.
enum class Rejection {
  kNotRepeated,   ///< --rerun-mode disabled: the step was not run again
  kReproducible,  ///< the same again from the same data and weights
  kPassing        ///< another result the second time: the machine
};
std::string_view rejection_name(Rejection rejection);

/// --result-rejected-tracker-filename: one JSON object a line for each rejected result. Iterations whose rejection was
/// reproducible in at least two lives of the run are worth skipping.
class RejectionTracker {
 public:
  /// No path: remembers nothing. Reads what earlier lives wrote; UserError naming the line that is none.
  RejectionTracker(const std::optional<std::string>& path, std::string run_id);

  void add(int64_t iteration, std::string_view what, double value, Rejection rejection);
  const std::vector<int64_t>& iterations_to_skip() const { return skip_; }

 private:
  std::string run_id_;
  std::vector<int64_t> skip_;  ///< ascending
  std::unique_ptr<OutputFile> file_;
};

}  // namespace conclave
