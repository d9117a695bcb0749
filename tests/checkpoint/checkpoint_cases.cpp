#include "checkpoint/checkpoint_cases.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/part_writer.h"

namespace conclave::cases {

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "conclave_checkpoint_XXXXXX").string();
  CONCLAVE_CHECK(::mkdtemp(pattern.data()) != nullptr, "no temporary folder {}", pattern);
  path_ = pattern;
}
TemporaryFolder::~TemporaryFolder() {
  std::error_code code;
  std::filesystem::remove_all(path_, code);
}

namespace {

// Byte `index` of a tensor with this key.
uint8_t byte_at(uint64_t key, int64_t index) {
  const uint64_t mixed = (key ^ static_cast<uint64_t>(index)) * 0x9e3779b97f4a7c15u;
  return static_cast<uint8_t>(mixed >> 56);
}

}  // namespace

Held hold(const StoredTensor& tensor, const ShardSpec& shard, int64_t iteration) {
  Held held{tensor.name, tensor.dtype, shard, {}};
  const int64_t width = dtype_size(tensor.dtype);
  const uint64_t key = hash64(tensor.name, static_cast<uint64_t>(iteration));
  for (int64_t i = 0; i < shard.element_count(); ++i) {
    const int64_t global = shard.global_index(i);
    for (int64_t k = 0; k < width; ++k) held.bytes.push_back(static_cast<std::byte>(byte_at(key, global * width + k)));
  }
  return held;
}

std::vector<CheckpointTensor> as_tensors(const std::vector<Held>& held) {
  std::vector<CheckpointTensor> tensors;
  for (const Held& each : held) tensors.push_back(each.as_tensor());
  return tensors;
}

std::vector<StoredTensor> some_tensors() {
  return {{"decoder.layers.0.mlp.experts.linear_fc1.weight", DType::kF32, {4, 6, 5}},
          {"decoder.layers.0.mlp.router.expert_bias", DType::kF32, {7}},
          {"embedding.word_embeddings.weight", DType::kBF16, {33, 17}},
          {"empty", DType::kF32, {0, 3}},
          {"flags", DType::kU8, {13}},
          {"four axes", DType::kF64, {3, 2, 4, 5}},
          {"step \"quoted\"", DType::kI64, {}},
          {"stretches", DType::kF32, {3, 500000}}};  // longer than a checksummed stretch
}

std::vector<ShardSpec> random_split(const std::vector<int64_t>& shape, int64_t ranks, std::mt19937& random) {
  const auto below = [&](int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random); };
  std::vector<Box> boxes = {ShardSpec::whole(shape).boxes[0]};
  for (int64_t cut = below(6); cut > 0; --cut) {
    const size_t which = static_cast<size_t>(below(static_cast<int64_t>(boxes.size())));
    const Box box = boxes[which];
    if (box.element_count() < 2) continue;
    std::vector<Box> parts;
    if (below(3) == 0) {  // a flat range, as an optimizer shard is
      const int64_t middle = 1 + below(box.element_count() - 1);
      parts = boxes_of_flat_range(box, 0, middle);
      for (const Box& part : boxes_of_flat_range(box, middle, box.element_count() - middle)) parts.push_back(part);
    } else {
      const size_t axis = static_cast<size_t>(below(static_cast<int64_t>(shape.size())));
      if (box.size[axis] < 2) continue;
      const int64_t middle = 1 + below(box.size[axis] - 1);
      parts = {box, box};
      parts[0].size[axis] = middle;
      parts[1].begin[axis] += middle;
      parts[1].size[axis] -= middle;
    }
    boxes.erase(boxes.begin() + static_cast<int64_t>(which));
    boxes.insert(boxes.end(), parts.begin(), parts.end());
  }
  std::shuffle(boxes.begin(), boxes.end(), random);
  std::vector<ShardSpec> shards(static_cast<size_t>(ranks), ShardSpec{shape, {}});
  for (const Box& box : boxes) shards[static_cast<size_t>(below(ranks))].boxes.push_back(box);
  return shards;
}

std::string write_split(const std::string& run_directory, int64_t iteration, int64_t ranks, std::mt19937& random,
                        int64_t file_bytes) {
  std::vector<std::vector<Held>> held(static_cast<size_t>(ranks));
  for (const StoredTensor& tensor : some_tensors()) {
    const std::vector<ShardSpec> shards = random_split(tensor.shape, ranks, random);
    for (size_t rank = 0; rank < held.size(); ++rank) {
      if (!shards[rank].boxes.empty()) held[rank].push_back(hold(tensor, shards[rank], iteration));
    }
  }
  PartialDirectory directory(run_directory, iteration);
  Manifest manifest;
  manifest.iteration = iteration;
  manifest.state["consumed_samples"] = iteration * 8;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const RankPart part =
        write_rank_part(directory.path(), rank, as_tensors(held[static_cast<size_t>(rank)]), file_bytes);
    manifest.ranks.push_back(part.entry);
    manifest.tensor_bytes += part.tensor_bytes;
  }
  return directory.commit(manifest, {});
}

std::string write_whole(const std::string& run_directory, int64_t iteration) {
  std::vector<Held> held;
  for (const StoredTensor& tensor : some_tensors())
    held.push_back(hold(tensor, ShardSpec::whole(tensor.shape), iteration));
  PartialDirectory directory(run_directory, iteration);
  Manifest manifest;
  manifest.iteration = iteration;
  const RankPart part = write_rank_part(directory.path(), 0, as_tensors(held), int64_t{1} << 40);
  manifest.ranks = {part.entry};
  manifest.tensor_bytes = part.tensor_bytes;
  return directory.commit(manifest, {});
}

std::string contents_fault(const CheckpointReader& reader, const std::string& name, const ShardSpec& shard,
                           int64_t iteration) {
  const Held expected = hold(reader.at(name), shard, iteration);
  std::vector<std::byte> got(expected.bytes.size(), std::byte{0xa5});
  reader.read(name, shard, got);
  const auto [a, b] = std::mismatch(got.begin(), got.end(), expected.bytes.begin());
  return a == got.end() ? "" : fmt::format("{}: byte {} differs", name, a - got.begin());
}

std::string contents_fault(const CheckpointReader& reader, int64_t iteration) {
  std::string faults;
  for (const StoredTensor& tensor : some_tensors()) {
    const StoredTensor* stored = reader.find(tensor.name);
    if (stored == nullptr || stored->shape != tensor.shape || stored->dtype != tensor.dtype) {
      faults += tensor.name + " is missing or has another shape\n";
    } else {
      faults += contents_fault(reader, tensor.name, ShardSpec::whole(tensor.shape), iteration);
    }
  }
  return faults;
}

}  // namespace conclave::cases
