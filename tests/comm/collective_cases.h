// Every collective against plain loops over what all members gave; for any world, by threads or by processes.
#pragma once

#include <string>
#include <vector>

#include "comm/world.h"

namespace conclave::cases {

struct CollectiveCase {
  std::string name;
  void (*run)(World& world);  ///< throws where a result is wrong
};
const std::vector<CollectiveCase>& collective_cases();
/// Where their tensors are: "cpu" at first.
std::string& case_device();

}  // namespace conclave::cases
