// rooms: base
// A safetensors file from a stranger: every byte of every tensor is looked at, or the file is refused with a text.
#include "base/safetensors.h"

#include <cstdlib>

#include "base/error.h"
#include "base/hash.h"
#include "fuzz_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  static const FuzzFolder folder;
  folder.write("x.safetensors", {reinterpret_cast<const char*>(data), size});
  try {
    const SafetensorsFile file(folder.file("x.safetensors"));
    size_t total = 0;
    for (const SafetensorsEntry& entry : file.entries()) {
      if (static_cast<size_t>(entry.element_count() * dtype_size(entry.dtype)) != entry.bytes.size()) std::abort();
      if (file.find(entry.name) == nullptr) std::abort();
      hash64(entry.bytes);  // touches them all
      total += entry.bytes.size();
    }
    if (total > size) std::abort();
  } catch (const UserError&) {
  }
  return 0;
}
