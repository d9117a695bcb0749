#include "comm/nccl/nccl_library.h"

#include "base/error.h"
#include "kernels/cuda/shared_library.h"

namespace conclave::nccl {

const Library& library() {
  static const Library found = [] {
    void* const file = kernels::cuda::need_library("libnccl.so.2");
    Library out{};
    const auto find = [&](auto& function, const char* name) {
      function =
          reinterpret_cast<std::remove_reference_t<decltype(function)>>(kernels::cuda::library_function(file, name));
    };
    find(out.get_unique_id, "ncclGetUniqueId");
    find(out.init_rank, "ncclCommInitRank");
    find(out.destroy, "ncclCommDestroy");
    find(out.group_start, "ncclGroupStart");
    find(out.group_end, "ncclGroupEnd");
    find(out.send, "ncclSend");
    find(out.receive, "ncclRecv");
    find(out.all_gather, "ncclAllGather");
    find(out.broadcast, "ncclBroadcast");
    find(out.async_error, "ncclCommGetAsyncError");
    find(out.error_string, "ncclGetErrorString");
    find(out.last_error, "ncclGetLastError");
    return out;
  }();
  return found;
}

void check(ncclResult_t result, const char* what) {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const char* const more = library().last_error(nullptr);
  throw Error(fmt::format("[comm/nccl] {}: {}{}{}; NCCL_DEBUG=WARN tells more", what, library().error_string(result),
                          more != nullptr && *more != '\0' ? ": " : "", more != nullptr ? more : ""));
}

}  // namespace conclave::nccl
