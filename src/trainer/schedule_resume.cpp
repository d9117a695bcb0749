#include "trainer/schedule_resume.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

struct Number {
  const char* key;
  const char* option;  // that it comes from
  double RateConfig::*field;
};
struct Word {
  const char* key;
  const char* option;
  std::string RateConfig::*field;
};

constexpr Number kNumbers[] = {
    {"max_lr", "--lr", &RateConfig::max_lr},
    {"min_lr", "--min-lr", &RateConfig::min_lr},
    {"init_lr", "--lr-warmup-init", &RateConfig::init_lr},
    {"warmup_samples", "--lr-warmup-iters, -samples or -fraction, in samples", &RateConfig::warmup_steps},
    {"decay_samples", "--lr-decay-iters or -samples (default: the run's length), in samples", &RateConfig::decay_steps},
    {"wsd_decay_samples", "--lr-wsd-decay-iters or -samples, in samples", &RateConfig::wsd_decay_steps},
    {"start_weight_decay", "--start-weight-decay or --weight-decay", &RateConfig::start_weight_decay},
    {"end_weight_decay", "--end-weight-decay or --weight-decay", &RateConfig::end_weight_decay},
    {"weight_decay_samples", "the run's length (--train-iters or --train-samples), in samples",
     &RateConfig::weight_decay_steps},
};
constexpr Word kWords[] = {
    {"style", "--lr-decay-style", &RateConfig::style},
    {"wsd_style", "--lr-wsd-decay-style", &RateConfig::wsd_style},
    {"weight_decay_style", "--weight-decay-incr-style", &RateConfig::weight_decay_style},
};

RateConfig schedule_from_json(const Json& json) {
  RateConfig config;
  for (const Number& number : kNumbers) config.*number.field = json.at(number.key).as_double();
  for (const Word& word : kWords) config.*word.field = json.at(word.key).as_string();
  return config;
}

// The length of the run matters only to what moves with it.
bool weight_decay_moves(const RateConfig& config) { return config.weight_decay_style != "constant"; }
bool rate_moves(const RateConfig& config) { return config.style != "constant"; }

std::vector<std::string> differences(const RateConfig& ours, const RateConfig& stored) {
  std::vector<std::string> out;
  const auto note = [&](const char* option, const auto& here, const auto& there) {
    if (!(here == there)) out.push_back(fmt::format("{}: {} here, {} in the checkpoint", option, here, there));
  };
  for (const Number& number : kNumbers) {
    if (number.field == &RateConfig::weight_decay_steps && !weight_decay_moves(ours) && !weight_decay_moves(stored))
      continue;
    if (number.field == &RateConfig::decay_steps && !rate_moves(ours) && !rate_moves(stored)) continue;
    note(number.option, ours.*number.field, stored.*number.field);
  }
  for (const Word& word : kWords) note(word.option, ours.*word.field, stored.*word.field);
  return out;
}

}  // namespace

Json schedule_json(const RateConfig& config) {
  Json json = Json::object();
  for (const Number& number : kNumbers) json[number.key] = config.*number.field;
  for (const Word& word : kWords) json[word.key] = config.*word.field;
  return json;
}

RateConfig resumed_schedule(const RateConfig& ours, const Json& stored, const OptimizerOptions& options) {
  if (options.override_opt_param_scheduler) return ours;
  const RateConfig theirs = schedule_from_json(stored);
  if (options.use_checkpoint_opt_param_scheduler) return theirs;
  const std::vector<std::string> faults = differences(ours, theirs);
  CONCLAVE_USER_CHECK(faults.empty(),
                      "the schedule of learning rate and weight decay is not the one this run was saved with:\n  {}\n"
                      "give the values of the checkpoint, or --override-opt-param-scheduler to go on with the new "
                      "ones, or --use-checkpoint-opt-param-scheduler to keep those of the checkpoint",
                      join(faults, "\n  "));
  return ours;
}

}  // namespace conclave
