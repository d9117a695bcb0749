// Ranks of jobs that are not there, and routings of runs that are over.
#include "base/text.h"
#include "config/option_value.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

// "zipf:1.2".
bool is_imbalance(const std::string& text) {
  if (!text.starts_with("zipf:")) return !text.empty();
  const auto exponent = parse_finite(text.substr(5));
  return exponent && *exponent >= 0 && *exponent <= 100;
}

bool simulates(const Rules& rules) {
  return rules.command == Command::kPlan || rules.raw.device.device == "sim" || rules.raw.parallel.fake_process_group;
}

}  // namespace

void check_pretended_rules(Rules& rules) {
  const ParallelOptions& parallel = rules.raw.parallel;
  const PretendedOptions& job = rules.raw.pretended;
  const bool fake = parallel.fake_process_group;
  rules.refuse(fake && rules.command != Command::kTrain && rules.command != Command::kPlan,
               "--fake-process-group works with train; got it with {}; leave it out", command_name(rules.command));
  rules.refuse(fake && parallel.ranks_as_threads > 1,
               "--fake-process-group is one rank alone; got --ranks-as-threads {}; give --world-size {} instead",
               parallel.ranks_as_threads, parallel.ranks_as_threads);
  rules.refuse(fake && rules.given("device") && rules.raw.device.device != "sim",
               "--fake-process-group runs on the device sim; got --device {}; drop --device", rules.raw.device.device);
  rules.refuse(fake && rules.raw.moe.moe_use_upcycling,
               "--fake-process-group makes no model; got --moe-use-upcycling; drop it, and give the options of the new "
               "model");
  rules.refuse(parallel.ranks_as_threads > 1 && rules.raw.device.device == "sim",
               "--device sim is one rank alone; got --ranks-as-threads {}; use --fake-process-group --world-size {}",
               parallel.ranks_as_threads, parallel.ranks_as_threads);
  const bool pretends = fake || rules.command == Command::kPlan;
  rules.refuse(job.world_size && !pretends,
               "--world-size is for a job that is not there; got {} without --fake-process-group; add that, or start "
               "the ranks: mpirun -np {}, or --ranks-as-threads {}",
               job.world_size.value_or(1), job.world_size.value_or(1), job.world_size.value_or(1));
  rules.refuse(job.rank && !pretends,
               "--rank is for a job that is not there; got {} without --fake-process-group; add that or drop it",
               job.rank.value_or(0));
  const int64_t ranks = job.world_size.value_or(parallel.world_size);
  rules.refuse(pretends && job.rank.value_or(0) >= ranks,
               "--rank must be below --world-size; got {} and {}; choose from 0 to {}", job.rank.value_or(0), ranks,
               ranks - 1);
}

void check_routing_trace_rules(Rules& rules) {
  const MoeOptions& moe = rules.raw.moe;
  rules.refuse(!is_imbalance(moe.moe_routing_imbalance),
               "--moe-routing-imbalance takes balanced, zipf:ALPHA with ALPHA from 0 to 100, or a folder; got '{}'; "
               "write for instance zipf:1.0",
               moe.moe_routing_imbalance);
  rules.refuse(moe.moe_routing_imbalance != "balanced" && !simulates(rules),
               "--moe-routing-imbalance says how routing falls out where nothing is routed; got --device {}; drop it, "
               "or add --fake-process-group",
               rules.raw.device.device);
  const std::pair<const char*, bool> paths[] = {{"moe-routing-trace-path", moe.moe_routing_trace_path.has_value()},
                                                {"moe-routing-replay-path", moe.moe_routing_replay_path.has_value()}};
  for (const auto& [key, used] : paths) {
    rules.refuse(used && rules.command == Command::kTrain && simulates(rules),
                 "--{} needs routers that choose; the device sim has none; {}", key,
                 std::string_view(key) == "moe-routing-replay-path" ? "give --moe-routing-imbalance that folder"
                                                                    : "drop it or use another device");
  }
  rules.refuse(moe.moe_routing_replay_path && contains(moe.moe_router_load_balancing_type, "sinkhorn"),
               "--moe-routing-replay-path does not go with --moe-router-load-balancing-type sinkhorn; both are given; "
               "drop one");
  rules.refuse(moe.moe_routing_trace_max_training_iters > 0 && !moe.moe_routing_trace_path,
               "--moe-routing-trace-max-training-iters needs --moe-routing-trace-path; it is not given; add it");
}

}  // namespace conclave
