// What all ranks of a job must have alike, compared at the start: a job whose ranks were started differently ends at
// once and says how, instead of hanging or training nonsense.
#pragma once

#include "base/json.h"
#include "comm/world.h"
#include "config/parse.h"
#include "data/batch_source.h"

namespace conclave {

/// Collective over `world`; nothing on one rank. Every rank gives an object of its own; those that differ from what
/// most ranks have end the job: the first of them throws UserError "WHAT than rank 0: KEY is A here, B there...".
/// `what`: e.g. "was started with other options".
void check_ranks_agree(World& world, const char* what, const Json& own);

/// Options as ranks compare them: all but those that concern one process or its machine (threads, where copies of the
/// data lie).
Json comparable_options(const Options& options);

/// Content of the data, wherever they lie, and how samples are drawn from them.
Json comparable_data(const BatchSource& source, int64_t consumed_samples);

}  // namespace conclave
