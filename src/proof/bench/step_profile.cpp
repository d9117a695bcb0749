#include "proof/bench/step_profile.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <string_view>

namespace conclave::proof {
namespace {

struct Category {
  std::string_view prefix;
  const char* name;
};
// The first prefix that fits.
constexpr Category kCategories[] = {
    {"grouped_gemm", "grouped products"},
    {"grouped_bias", "grouped products"},
    {"gemm", "dense products"},
    {"attention", "attention"},
    {"linear_cross_entropy", "output and loss"},
    {"vocab_", "output and loss"},
    {"masked_sum", "output and loss"},
    {"norm_", "norms"},
    {"activation", "activation"},
    {"router_", "router"},
    {"routing_map", "router"},
    {"balance_", "router"},
    {"z_loss", "router"},
    {"running_counts", "router"},
    {"count_choices", "router"},
    {"expert_bias", "router"},
    {"permutation_plan", "permutation"},
    {"gather_", "permutation"},
    {"combine_rows", "permutation"},
    {"scatter_slots", "permutation"},
    {"rope", "positions and heads"},
    {"split_qkv", "positions and heads"},
    {"merge_qkv", "positions and heads"},
    {"embedding", "embedding"},
    {"adamw", "optimizer"},
    {"sgd", "optimizer"},
    {"square_sum", "optimizer"},
    {"clip_scale", "optimizer"},
    {"dropout_add", "residual adds"},
    {"fill", "fills, casts, sums"},
    {"cast", "fills, casts, sums"},
    {"scale", "fills, casts, sums"},
};

struct Share {
  double seconds = 0;
  int64_t calls = 0;
};
using Shares = std::map<std::string_view, Share>;

std::vector<std::pair<std::string_view, Share>> longest_first(const Shares& shares) {
  std::vector<std::pair<std::string_view, Share>> out(shares.begin(), shares.end());
  std::stable_sort(out.begin(), out.end(),
                   [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  return out;
}

std::string line(std::string_view indent, std::string_view name, const Share& share, double whole) {
  return fmt::format("{}{:<{}} {:>9.3f} ms {:>5.1f}% {:>6} calls\n", indent, name, 32 - indent.size(),
                     share.seconds * 1e3, 100 * share.seconds / whole, share.calls);
}

}  // namespace

double StepProfile::seconds() const {
  return std::accumulate(ops.begin(), ops.end(), 0.0, [](double sum, const Op& op) { return sum + op.seconds; });
}

const char* op_category(std::string_view op) {
  for (const Category& category : kCategories) {
    if (op.starts_with(category.prefix)) return category.name;
  }
  return "other";
}

std::string profile_table(const StepProfile& profile) {
  Shares categories;
  std::map<std::string_view, Shares> ops;
  for (const StepProfile::Op& op : profile.ops) {
    const std::string_view category = op_category(op.name);
    for (Share* share : {&categories[category], &ops[category][op.name]}) {
      share->seconds += op.seconds;
      ++share->calls;
    }
  }
  const double whole = profile.seconds();
  std::string out = fmt::format("one step with every op timed: {:.3f} ms, {} ops\n", whole * 1e3, profile.ops.size());
  for (const auto& [category, share] : longest_first(categories)) {
    out += line("  ", category, share, whole);
    for (const auto& [op, part] : longest_first(ops[category])) out += line("      ", op, part, whole);
  }
  return out;
}

Json chrome_trace(const StepProfile& profile) {
  Json events = Json::array();
  std::map<std::string_view, int64_t> rows;
  for (const StepProfile::Op& op : profile.ops) {
    const char* category = op_category(op.name);
    if (!rows.emplace(category, static_cast<int64_t>(rows.size())).second) continue;
    Json title = Json::object(), name = Json::object();
    name["name"] = category;
    title["name"] = "thread_name";
    title["ph"] = "M";
    title["pid"] = 0;
    title["tid"] = rows.at(category);
    title["args"] = std::move(name);
    events.push_back(std::move(title));
  }
  double at = 0;
  for (const StepProfile::Op& op : profile.ops) {
    Json event = Json::object();
    event["name"] = op.name;
    event["cat"] = op_category(op.name);
    event["ph"] = "X";
    event["ts"] = at * 1e6;
    event["dur"] = op.seconds * 1e6;
    event["pid"] = 0;
    event["tid"] = rows.at(op_category(op.name));
    events.push_back(std::move(event));
    at += op.seconds;
  }
  Json json = Json::object();
  json["displayTimeUnit"] = "ms";
  json["traceEvents"] = std::move(events);
  return json;
}

StepProfiler::StepProfiler(Device& device) : device_(device), marks_(make_time_marks(device)), watched_(*this) {
  begins(device.default_stream(), "start");
}

void StepProfiler::begins(const Stream& stream, const char* op) {
  if (!stream.is_default()) return;
  marks_->mark(stream);
  names_.push_back(op);
}

StepProfile StepProfiler::take() {
  marks_->mark(device_.default_stream());
  const std::vector<double> seconds = marks_->take();
  StepProfile out;
  for (size_t i = 0; i < seconds.size(); ++i) out.ops.push_back({names_[i], seconds[i]});
  names_.clear();
  return out;
}

}  // namespace conclave::proof
