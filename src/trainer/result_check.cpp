#include "trainer/result_check.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

// Iterations with at least two reproducible rejections; one life of a run meets an iteration once.
std::vector<int64_t> known_bad(const std::string& path) {
  std::map<int64_t, int64_t> counts;
  int64_t number = 0;
  for (const std::string& line : split(read_file(path), '\n')) {
    ++number;
    if (line.empty()) continue;
    try {
      const Json record = Json::parse(line, "JSON");
      const int64_t iteration = record.at("iteration").as_int();
      if (record.at("status").as_string() == rejection_name(Rejection::kReproducible)) ++counts[iteration];
    } catch (const UserError& error) {
      throw UserError(
          fmt::format("--result-rejected-tracker-filename '{}', line {}: {}; remove the line, or name "
                      "another file",
                      path, number, error.what()));
    }
  }
  std::vector<int64_t> out;
  for (const auto& [iteration, count] : counts) {
    if (count >= 2) out.push_back(iteration);
  }
  return out;
}

}  // namespace

void JumpCheck::learn(double value) {
  if (learned_ >= kSamples) return;
  ++learned_;
  largest_ = std::max(largest_, value);
}

Json JumpCheck::to_json() const {
  Json json = Json::object();
  json["learned"] = learned_;
  json["largest"] = largest_;
  return json;
}

JumpCheck JumpCheck::from_json(const Json& json) {
  JumpCheck check;
  check.learned_ = json.at("learned").as_int();
  check.largest_ = json.at("largest").as_double();
  return check;
}

void RepeatStatistics::add(double first, double again) {
  ++values_;
  if (std::bit_cast<uint64_t>(first) == std::bit_cast<uint64_t>(again)) {
    ++same_;
    return;
  }
  const double difference = std::fabs(first - again) / std::max(std::fabs(first), std::fabs(again));
  if (!std::isnan(largest_difference_) && !(difference <= largest_difference_)) largest_difference_ = difference;
}

std::string RepeatStatistics::text() const {
  std::string out =
      fmt::format("{} of {} results were the same to the bit when their step was run again", same_, values_);
  if (same_ < values_) out += fmt::format("; the largest relative difference was {:.3g}", largest_difference_);
  return out;
}

std::string_view rejection_name(Rejection rejection) {
  switch (rejection) {
    case Rejection::kNotRepeated:
      return "not repeated";
    case Rejection::kReproducible:
      return "reproducible";
    case Rejection::kPassing:
      return "passing fault";
  }
  return "";
}

RejectionTracker::RejectionTracker(const std::optional<std::string>& path, std::string run_id)
    : run_id_(std::move(run_id)) {
  if (!path) return;
  if (file_exists(*path)) skip_ = known_bad(*path);
  file_ = std::make_unique<OutputFile>(*path, OutputFile::Mode::kAppend);
}

void RejectionTracker::add(int64_t iteration, std::string_view what, double value, Rejection rejection) {
  if (!file_) return;
  Json record = Json::object();
  record["time"] = unix_seconds();
  record["run_id"] = run_id_;
  record["process"] = static_cast<int64_t>(::getpid());
  record["iteration"] = iteration;
  record["what"] = what;
  record["value"] = value;
  record["status"] = rejection_name(rejection);
  file_->write(record.dump() + "\n");
  file_->sync();
}

}  // namespace conclave
