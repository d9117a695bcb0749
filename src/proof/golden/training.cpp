// Golden cases of plain training arithmetic: rates, FLOPs, vocabulary padding, numbers of samples.
#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "config/parse.h"
#include "config/resolve.h"
#include "data/sample_counts.h"
#include "optim/lr_schedule.h"
#include "proof/golden/case_files.h"
#include "proof/golden/golden.h"
#include "spec/flops.h"
#include "spec/vocabulary.h"

namespace conclave::proof {
namespace {

constexpr double kRelative = 1e-12;
constexpr double kNearZero = 1e-18;

std::optional<int64_t> maybe_int(const Json& golden, std::string_view key) {
  const Json* value = golden.find(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return value->as_int();
}

// Those entries of `golden` that are options; `extra` holds what is not.
Options options_of(const Json& golden, const std::vector<std::string>& extra) {
  Json object = Json::object();
  for (const auto& [key, value] : golden.as_object()) {
    if (std::find(extra.begin(), extra.end(), key) != extra.end()) continue;
    if (find_option(key).row == nullptr) throw NotBuilt(fmt::format("option {}", key));
    object[key] = value;
  }
  return options_from_json(object, "case").options;
}

void check_rate_row(const RateConfig& rates, const Json& golden, const Json& row) {
  const std::string what = fmt::format("iteration {}", row.at(size_t{0}).as_int());
  const double samples = row.at(1).as_double();
  const Json& groups = golden.at("param_groups");
  for (size_t i = 0; i < groups.size(); ++i) {
    const Json& group = groups.at(i);
    std::optional<double> high, low;
    if (const Json* value = group.find("max_lr")) high = value->as_double();
    if (const Json* value = group.find("min_lr")) low = value->as_double();
    const Json* mult = group.find("wd_mult");
    const double decay = weight_decay(rates, samples) * (mult == nullptr ? 1.0 : mult->as_double());
    expect_near(fmt::format("{} learning rate of group {}", what, i), learning_rate(rates, samples, high, low),
                row.at(2).at(i).as_double(), kRelative, kNearZero);
    expect_near(fmt::format("{} weight decay of group {}", what, i), decay, row.at(3).at(i).as_double(), kRelative,
                kNearZero);
  }
}

void check_rates(const Json& golden, const std::string&) {
  const Options options = options_of(golden, {"error", "reason", "name", "param_groups", "resolved", "values"});
  const int64_t batch = golden.at("global_batch_size").as_int();
  const int64_t samples = options.training.train_samples;
  const RateConfig rates = rate_config(options.optimizer, options.training.train_iters, samples, batch);
  if (must_be_refused(golden)) return;
  const Json& resolved = golden.at("resolved");
  const int64_t steps = samples > 0 ? samples / batch : options.training.train_iters;
  expect_equal("train_iters", steps, resolved.at("train_iters").as_int());
  expect_near("lr_warmup_steps", rates.warmup_steps, resolved.at("lr_warmup_steps").as_double(), kRelative);
  expect_near("lr_decay_steps", rates.decay_steps, resolved.at("lr_decay_steps").as_double(), kRelative);
  expect_near("wsd_decay_steps", rates.wsd_decay_steps,
              static_cast<double>(maybe_int(resolved, "wsd_decay_steps").value_or(0)), kRelative);
  expect_near("wd_incr_steps", rates.weight_decay_steps, resolved.at("wd_incr_steps").as_double(), kRelative);
  expect_near("start_weight_decay", rates.start_weight_decay, resolved.at("start_weight_decay").as_double(), kRelative);
  expect_near("end_weight_decay", rates.end_weight_decay, resolved.at("end_weight_decay").as_double(), kRelative);
  for (const Json& row : golden.at("values").as_array()) check_rate_row(rates, golden, row);
}

void check_flops(const Json& golden, const std::string&) {
  const Options options = resolved(options_of(golden.at("args"), {}));
  StepTokens step;
  step.sequences = golden.at("batch_size").as_int();
  step.tokens = maybe_int(golden, "total_real_tokens_in_batch");
  step.length_squares = maybe_int(golden, "seqlen_squared_sum_in_batch");
  expect_near("num_floating_point_operations", customary_step_flops(options, options.model.padded_vocab_size, step),
              golden.at("num_floating_point_operations").as_double(), kRelative);
}

void check_vocab_padding(const Json& golden, const std::string&) {
  const int64_t padded =
      padded_vocab_size(golden.at("vocab_size").as_int(), golden.at("make_vocab_size_divisible_by").as_int(),
                        golden.at("tensor_model_parallel_size").as_int());
  expect_equal("padded_vocab_size", padded, golden.at("padded_vocab_size").as_int());
}

void check_dataset_sizes(const Json& golden, const std::string&) {
  SampleCountArgs args;
  args.train_iters = int_or(golden, "train_iters", 0);
  args.train_samples = maybe_int(golden, "train_samples");
  args.global_batch_size = golden.at("global_batch_size").as_int();
  args.eval_global_batch_size = maybe_int(golden, "eval_global_batch_size");
  args.eval_interval = maybe_int(golden, "eval_interval");
  args.eval_iters = golden.at("eval_iters").as_int();
  args.full_validation = flag_or(golden, "full_validation", false);
  args.skip_train = flag_or(golden, "skip_train", false);
  args.start_eval_at_iter = maybe_int(golden, "start_eval_at_iter");
  const SampleCounts counts = sample_counts(args);
  expect_equal("train_samples_wanted", counts.train, golden.at("train_samples_wanted").as_int());
  const std::optional<int64_t> valid = maybe_int(golden, "valid_samples_wanted");
  expect_equal("valid_samples_wanted is null", !counts.valid, !valid);
  if (valid) expect_equal("valid_samples_wanted", *counts.valid, *valid);
  expect_equal("test_samples_wanted", counts.test, golden.at("test_samples_wanted").as_int());
}

}  // namespace

std::vector<GoldenReport> golden_training(const std::string& folder) {
  const std::map<std::string, CaseFunction> kinds = {{"lr_wd_schedule", check_rates},
                                                     {"flops", check_flops},
                                                     {"vocab_padding", check_vocab_padding},
                                                     {"dataset_sizes", check_dataset_sizes}};
  return run_case_files(folder, "training", kinds, Reports::kAlsoByFile);
}

}  // namespace conclave::proof
