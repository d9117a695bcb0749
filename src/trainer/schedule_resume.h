// Which learning-rate and weight-decay schedule a resumed run follows.
#pragma once

#include "base/json.h"
#include "config/optimizer_options.h"
#include "optim/lr_schedule.h"

namespace conclave {

/// As it stands in a checkpoint, "schedule".
Json schedule_json(const RateConfig& config);

/// `ours` comes from the options of this start, `stored` from the checkpoint. --override-opt-param-scheduler: ours;
/// --use-checkpoint-opt-param-scheduler: the checkpoint's; neither: they must be equal, or UserError names every value
/// that is not, with both cures.
RateConfig resumed_schedule(const RateConfig& ours, const Json& stored, const OptimizerOptions& options);

}  // namespace conclave
