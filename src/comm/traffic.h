// What a member of a group sent and received.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace conclave {

enum class CollectiveKind { kAllReduce, kReduceScatter, kAllGather, kAllToAll, kBroadcast, kExchange, kBarrier };
const char* collective_name(CollectiveKind kind);  ///< "all_reduce"

/// Payload bytes between this member and others, one's own piece not counted, as an algorithm moves them in which each
/// member sums one piece: all-reduce of n bytes sends and receives 2 n (size - 1) / size. The same numbers whatever the
/// transport.
struct OperationTraffic {
  int64_t calls = 0;
  int64_t bytes_sent = 0;
  int64_t bytes_received = 0;
  /// all_to_all and exchange: bytes by destination [size], by rank in the group; all_to_all's own place: bytes that
  /// stay.
  std::vector<int64_t> sent_to;
};

/// By operation and name of the call.
class Traffic {
 public:
  using Key = std::pair<CollectiveKind, std::string>;
  const std::map<Key, OperationTraffic>& by_call() const { return by_call_; }
  OperationTraffic total() const;
  OperationTraffic total(CollectiveKind kind) const;
  void reset() { by_call_.clear(); }
  void add(const Key& key, const OperationTraffic& more);

 private:
  std::map<Key, OperationTraffic> by_call_;
};

}  // namespace conclave
