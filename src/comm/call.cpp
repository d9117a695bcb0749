#include "comm/call.h"

#include <algorithm>
#include <cstring>

namespace conclave {
namespace {

void set_text(char (&place)[CallHeader::kNameSize], const std::string& text) {
  text.copy(place, CallHeader::kNameSize - 1);
}

bool has_pieces(const CallHeader& header) {
  const auto kind = static_cast<CollectiveKind>(header.kind);
  return kind == CollectiveKind::kReduceScatter || kind == CollectiveKind::kAllGather ||
         kind == CollectiveKind::kAllToAll;
}

bool is_reduction(CollectiveKind kind) {
  return kind == CollectiveKind::kAllReduce || kind == CollectiveKind::kReduceScatter;
}

const char* op_name(int32_t op) {
  constexpr const char* kNames[] = {"sum", "max", "min"};
  return kNames[op];
}

// Pieces that one side sends are those that the other expects; in sums, both have the same number in all.
bool pieces_agree(const CallHeader& mine, const CallHeader& theirs) {
  if (mine.send_elements != theirs.receive_elements || mine.receive_elements != theirs.send_elements) return false;
  return static_cast<CollectiveKind>(mine.kind) == CollectiveKind::kAllToAll || mine.elements == theirs.elements;
}

}  // namespace

CallHeader header_for(const CollectiveCall& call, const std::string& group, int peer) {
  CallHeader header;
  set_text(header.group, group);
  set_text(header.name, call.name);
  header.sequence = call.sequence;
  header.kind = static_cast<int32_t>(call.kind);
  header.op = static_cast<int32_t>(call.op);
  header.root = call.root;
  header.dtype = static_cast<int32_t>(call.in.dtype());
  if (call.in.defined()) header.elements = std::max(call.in.element_count(), call.out.element_count());
  if (!call.send.empty()) {
    header.send_elements = call.send[static_cast<size_t>(peer)];
    header.receive_elements = call.receive[static_cast<size_t>(peer)];
  }
  return header;
}

bool agree(const CallHeader& mine, const CallHeader& theirs, bool with_names) {
  if (with_names && (std::strcmp(mine.group, theirs.group) != 0 || std::strcmp(mine.name, theirs.name) != 0 ||
                     mine.sequence != theirs.sequence)) {
    return false;
  }
  if (mine.kind != theirs.kind || mine.op != theirs.op || mine.dtype != theirs.dtype || mine.root != theirs.root) {
    return false;
  }
  return has_pieces(mine) ? pieces_agree(mine, theirs) : mine.elements == theirs.elements;
}

std::string describe(const CallHeader& header) {
  const auto kind = static_cast<CollectiveKind>(header.kind);
  std::string out =
      fmt::format("{} '{}' (call {} of group {}", collective_name(kind), header.name, header.sequence, header.group);
  if (kind == CollectiveKind::kBarrier) return out + ")";
  const std::string_view dtype = dtype_name(static_cast<DType>(header.dtype));
  if (kind == CollectiveKind::kAllToAll) {
    return out + fmt::format(", {}, {} elements to the other, {} from it)", dtype, header.send_elements,
                             header.receive_elements);
  }
  out += is_reduction(kind) ? fmt::format(", {} of {} {}", op_name(header.op), header.elements, dtype)
                            : fmt::format(", {} {}", header.elements, dtype);
  if (kind == CollectiveKind::kBroadcast) out += fmt::format(" from member {}", header.root);
  if (has_pieces(header)) {
    out += fmt::format(", {} elements to the other, {} from it", header.send_elements, header.receive_elements);
  }
  return out + ")";
}

std::string mismatch_text(int64_t my_rank, const CallHeader& mine, int64_t their_rank, const CallHeader& theirs) {
  return fmt::format(
      "[comm] ranks called different collectives: rank {} called {}; rank {} called {}; they must run the same program "
      "with the same options on data of the same shapes",
      my_rank, describe(mine), their_rank, describe(theirs));
}

}  // namespace conclave
