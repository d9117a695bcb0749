// rooms: data
// .idx and .bin from a stranger: every sequence is read and samples are made, or the files are refused with a text.
// Input: one byte = size of the .bin in tokens, then the .idx.
#include <cstdlib>

#include "base/error.h"
#include "data/gpt_dataset.h"
#include "data/indexed_dataset.h"
#include "fuzz_folder.h"

namespace conclave {
namespace {

void read_all(const IndexedDataset& data) {
  for (int64_t i = 0; i < data.sequence_count(); ++i) {
    // Unchecked lengths may promise gigabytes; the reader has to find out before it touches them.
    std::vector<int32_t> token(1);
    try {
      data.read(i, 0, token);
      data.read(i, data.lengths()[i] - 1, token);
    } catch (const UserError&) {
    }
    if (data.multimodal()) data.mode(i);
  }
}

void make_samples(const std::string& prefix) {
  auto data = std::make_shared<IndexedDataset>(prefix);
  for (int64_t i = 0; i < data->sequence_count(); ++i) data->read_sequence(i);
  for (int64_t i = 0; i < data->boundary_count(); ++i) {
    if (data->boundary(i) < 0 || data->boundary(i) > data->sequence_count()) std::abort();
  }
  GptIndexSpec spec;
  spec.past_last = data->sequence_count();
  spec.seq_length = 3;
  spec.num_samples = 5;
  std::vector<GptIndex> indices;
  indices.emplace_back(*data, spec, IndexCache{IndexCache::Place::kMemory, ""}, "fuzz");
  const GptDataset samples(data, std::move(indices));
  TokenSample sample;
  for (int64_t i = 0; i < std::min<int64_t>(samples.size(), 1000); ++i) {
    samples.fetch(i, sample);
    if (sample.text.size() != 4) std::abort();
  }
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  static const FuzzFolder folder;
  if (size < 1) return 0;
  folder.write("d.idx", {reinterpret_cast<const char*>(data) + 1, size - 1});
  folder.write("d.bin", std::string(static_cast<size_t>(data[0]) * 4, '\1'));
  try {
    read_all(IndexedDataset(folder.file("d"), IndexCheck::kHeader));
    make_samples(folder.file("d"));
  } catch (const UserError&) {
  }
  return 0;
}
