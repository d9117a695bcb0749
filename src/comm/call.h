// One call of a collective, as transports get it: checked, counted, with everything that members must agree on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace conclave {

struct CollectiveCall {
  CollectiveKind kind = CollectiveKind::kBarrier;
  std::string name;
  ReduceOp op = ReduceOp::kSum;
  int root = 0;
  Tensor in, out;                      ///< all_reduce and broadcast: the same tensor
  std::vector<int64_t> send, receive;  ///< elements to and from each member; all_reduce and broadcast: none
  std::vector<Transfer> transfers;
  int64_t sequence = 0;                     ///< of the group's collectives, from 0 in the order of issue
  std::vector<int64_t> transfer_sequences;  ///< of each transfer among those of its peer and direction
};

/// What travels, or is shown, of a call: all that two members must agree on. Plain data of one size.
struct CallHeader {
  static constexpr size_t kNameSize = 48;
  char group[kNameSize] = {};
  char name[kNameSize] = {};
  int64_t sequence = 0;
  int64_t elements = 0;       ///< all_reduce and broadcast: of the tensor; others: in all pieces
  int64_t send_elements = 0;  ///< to the member that reads this header
  int64_t receive_elements = 0;
  int32_t kind = 0, op = 0, dtype = 0, root = 0;
};

/// The header of a call for member `peer`.
CallHeader header_for(const CollectiveCall& call, const std::string& group, int peer);
/// Whether two members called the same: `mine` was made for the other, `theirs` for me.
bool agree(const CallHeader& mine, const CallHeader& theirs, bool with_names);
/// "all_reduce 'loss' (call 12 of group dp, sum of 1024 f32)"
std::string describe(const CallHeader& header);
/// Text of CollectiveMismatch: both sides, by ranks of the world.
std::string mismatch_text(int64_t my_rank, const CallHeader& mine, int64_t their_rank, const CallHeader& theirs);

}  // namespace conclave
