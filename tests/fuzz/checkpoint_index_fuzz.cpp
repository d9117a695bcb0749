// rooms: checkpoint
// A rank's index from a stranger: refused with a text, or what it says can be written and read back the same, lies
// inside its files, and can be checked for holes.
#include <cstdlib>

#include "base/error.h"
#include "checkpoint/box_overlap.h"
#include "checkpoint/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  try {
    const RankIndex index = parse_rank_index({reinterpret_cast<const char*>(data), size}, "INDEX");
    for (const IndexedTensor& tensor : index.tensors) {
      std::vector<const Box*> boxes;
      for (const StoredBox& stored : tensor.boxes) {
        boxes.push_back(&stored.box);
        if (stored.bytes != stored.box.element_count() * dtype_size(tensor.dtype)) std::abort();
        for (const IndexedFile& file : index.files) {
          if (file.name == stored.file && stored.bytes > 0 && stored.offset + stored.bytes > file.bytes) std::abort();
        }
      }
      tiling_fault(tensor.shape, boxes);
    }
    const std::string text = rank_index_text(index);
    if (rank_index_text(parse_rank_index(text, "INDEX")) != text) std::abort();
  } catch (const UserError&) {
  }
  return 0;
}
