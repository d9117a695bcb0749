#include "comm/traffic.h"

namespace conclave {
namespace {

void accumulate(OperationTraffic& sum, const OperationTraffic& more) {
  sum.calls += more.calls;
  sum.bytes_sent += more.bytes_sent;
  sum.bytes_received += more.bytes_received;
  if (sum.sent_to.size() < more.sent_to.size()) sum.sent_to.resize(more.sent_to.size());
  for (size_t i = 0; i < more.sent_to.size(); ++i) sum.sent_to[i] += more.sent_to[i];
}

}  // namespace

const char* collective_name(CollectiveKind kind) {
  constexpr const char* kNames[] = {"all_reduce", "reduce_scatter", "all_gather", "all_to_all_rows",
                                    "broadcast",  "exchange",       "barrier"};
  return kNames[static_cast<int>(kind)];
}

void Traffic::add(const Key& key, const OperationTraffic& more) { accumulate(by_call_[key], more); }

OperationTraffic Traffic::total() const {
  OperationTraffic sum;
  for (const auto& [key, one] : by_call_) accumulate(sum, one);
  return sum;
}

OperationTraffic Traffic::total(CollectiveKind kind) const {
  OperationTraffic sum;
  for (const auto& [key, one] : by_call_)
    if (key.first == kind) accumulate(sum, one);
  return sum;
}

}  // namespace conclave
