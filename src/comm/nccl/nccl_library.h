// NCCL, opened when first needed: a program with GPUs built in starts where there is none.
#pragma once

#include <nccl.h>

namespace conclave::nccl {

/// The functions that are used here.
struct Library {
  decltype(&ncclGetUniqueId) get_unique_id;
  decltype(&ncclCommInitRank) init_rank;
  decltype(&ncclCommDestroy) destroy;
  decltype(&ncclGroupStart) group_start;
  decltype(&ncclGroupEnd) group_end;
  decltype(&ncclSend) send;
  decltype(&ncclRecv) receive;
  decltype(&ncclAllGather) all_gather;
  decltype(&ncclBroadcast) broadcast;
  decltype(&ncclCommGetAsyncError) async_error;
  decltype(&ncclGetErrorString) error_string;
  decltype(&ncclGetLastError) last_error;
};
/// UserError that says how to get it where it is not.
const Library& library();

/// Throws Error with NCCL's own words.
void check(ncclResult_t result, const char* what);

/// Sends and receives between its making and end() are posted together.
class Group {
 public:
  Group() { check(library().group_start(), "ncclGroupStart"); }
  ~Group() {
    if (!ended_) library().group_end();
  }
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;
  void end() {
    ended_ = true;
    check(library().group_end(), "ncclGroupEnd");
  }

 private:
  bool ended_ = false;
};

}  // namespace conclave::nccl
