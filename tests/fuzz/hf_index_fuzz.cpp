// rooms: convert
// An index and a weight file from a stranger beside a small model's config.json: refused with a text, or read.
#include <cstdlib>

#include "base/error.h"
#include "convert/hf_import.h"
#include "fuzz_folder.h"

namespace {

constexpr const char* kConfig =
    R"({"model_type": "llama", "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 1, "vocab_size": 4, "max_position_embeddings": 8})";

}  // namespace

// The first two bytes say where the index ends and the weight file begins.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  static const FuzzFolder folder;
  if (size < 2) return 0;
  const size_t split = std::min<size_t>(2 + data[0] + 256 * static_cast<size_t>(data[1]), size);
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  folder.write("config.json", kConfig);
  folder.write("model.safetensors.index.json", all.substr(2, split - 2));
  folder.write("model-00001-of-00001.safetensors", all.substr(split));
  try {
    const HuggingFaceWeights weights(folder.file(""));
    for (const OwnTensor& tensor : weights.tensors()) {
      std::vector<float> values(1);
      weights.read(tensor.name, 0, DType::kF32, std::as_writable_bytes(std::span(values)));
    }
  } catch (const UserError&) {
  }
  return 0;
}
