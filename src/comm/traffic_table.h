// Byte counters of groups, for people.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"

namespace conclave {

/// Calls and bytes by group, operation and name.
std::string traffic_table(const std::vector<const Communicator*>& groups);

}  // namespace conclave
