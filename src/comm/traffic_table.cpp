#include "comm/traffic_table.h"

#include <fmt/format.h>

#include "base/text.h"

namespace conclave {

std::string traffic_table(const std::vector<const Communicator*>& groups) {
  std::string out = fmt::format("{:<24} {:>5} {:<16} {:<32} {:>8} {:>12} {:>12}\n", "group", "size", "operation",
                                "name", "calls", "sent", "received");
  for (const Communicator* group : groups) {
    for (const auto& [key, traffic] : group->traffic().by_call()) {
      out += fmt::format("{:<24} {:>5} {:<16} {:<32} {:>8} {:>12} {:>12}\n", group->group(), group->size(),
                         collective_name(key.first), key.second, traffic.calls, human_bytes(traffic.bytes_sent),
                         human_bytes(traffic.bytes_received));
    }
  }
  return out;
}

}  // namespace conclave
