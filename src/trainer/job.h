// From a command to the ranks that carry it out: one process, threads of one process, or processes that a launcher
// started.
#pragma once

#include <functional>
#include <memory>

#include "comm/process_groups.h"
#include "config/parse.h"

namespace conclave {

/// The groups of a rank, from resolved options. `world` must outlive them.
std::unique_ptr<ProcessGroups> make_job_groups(const Options& options, World& world);

/// Runs `work` on every rank that is in this process and returns the largest of their results. The options that `work`
/// gets know the number of ranks. Rank 0 speaks for all: the others' log lines are dropped.
int run_job(ParsedOptions parsed, const std::function<int(World&, const ParsedOptions&)>& work);

}  // namespace conclave
