// What is written under one split is read under any other.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "base/file.h"
#include "base/safetensors.h"
#include "checkpoint/checkpoint_cases.h"
#include "checkpoint/directory.h"
#include "checkpoint/part_writer.h"

namespace conclave {
namespace {

using cases::TemporaryFolder;

TEST(RoundTrip, WholeTensors) {
  const TemporaryFolder folder;
  const std::string directory = cases::write_whole(folder.path(), 12);
  EXPECT_EQ(directory, folder / "iter_0000012");
  const CheckpointReader reader(directory);
  EXPECT_EQ(reader.iteration(), 12);
  EXPECT_EQ(reader.world_size(), 1);
  EXPECT_EQ(reader.tensors().size(), cases::some_tensors().size());
  EXPECT_EQ(cases::contents_fault(reader, 12), "");
  EXPECT_NE(cases::contents_fault(reader, 13), "");  // the comparison sees another iteration's bytes
  EXPECT_TRUE(reader.verify().empty());
}

// Twenty random pairs of layouts, and as many ranks reading as had never written.
TEST(RoundTrip, ReshardsRandomPairs) {
  std::mt19937 random(3);
  for (int pair = 0; pair < 20; ++pair) {
    const TemporaryFolder folder;
    const int64_t writers = 1 + pair % 4, readers = 1 + (pair / 4) % 5;
    const int64_t file_bytes = pair % 3 == 0 ? 3000 : int64_t{1} << 40;
    const std::string directory = cases::write_split(folder.path(), pair + 1, writers, random, file_bytes);
    for (int64_t rank = 0; rank < readers; ++rank) {
      CheckpointReaderSettings settings;
      settings.first_rank = rank;
      settings.verify_checksums = pair % 2 == 0;
      const CheckpointReader reader(directory, settings);
      EXPECT_EQ(reader.world_size(), writers);
      for (const StoredTensor& tensor : cases::some_tensors()) {
        for (const ShardSpec& shard : cases::random_split(tensor.shape, readers, random))
          ASSERT_EQ(cases::contents_fault(reader, tensor.name, shard, pair + 1), "");
      }
      ASSERT_EQ(cases::contents_fault(reader, pair + 1), "");
    }
    EXPECT_TRUE(verify_checkpoint(directory).empty());
  }
}

TEST(RoundTrip, TheOwnIndexIsEnoughForTheOwnBoxes) {
  const TemporaryFolder folder;
  std::mt19937 random(4);
  const std::vector<StoredTensor> tensors = cases::some_tensors();
  const StoredTensor& tensor = tensors[0];
  PartialDirectory partial(folder.path(), 1);
  Manifest manifest;
  manifest.iteration = 1;
  std::vector<ShardSpec> shards;
  for (int64_t rank = 0; rank < 2; ++rank) {
    shards.push_back({tensor.shape, {Box{{2 * rank, 0, 0}, {2, 6, 5}}}});
    const cases::Held held = cases::hold(tensor, shards.back(), 1);
    manifest.ranks.push_back(write_rank_part(partial.path(), rank, {held.as_tensor()}, 1 << 30).entry);
  }
  const std::string directory = partial.commit(manifest, {});
  remove_all(directory + "/rank_00000.index.json");
  CheckpointReaderSettings settings;
  settings.first_rank = 1;
  const CheckpointReader reader(directory, settings);
  EXPECT_EQ(cases::contents_fault(reader, tensor.name, shards[1], 1), "");
  EXPECT_NE(cases::error_text([&] {
              cases::contents_fault(reader, tensor.name, shards[0], 1);
            }).find("rank_00000.index.json"),
            std::string::npos);
}

TEST(RoundTrip, DeviceTensors) {
  const TemporaryFolder folder;
  const auto device = make_device("cpu");
  std::vector<float> values(24);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.5f;
  const MemoryTag tag{MemoryCategory::kWeights, "test"};
  const Tensor weight = from_host<float>(*device, {4, 6}, values, tag);
  PartialDirectory partial(folder.path(), 7);
  Manifest manifest;
  manifest.iteration = 7;
  manifest.state["seed"] = 1234;
  manifest.ranks = {write_rank_part(partial.path(), 0, {CheckpointTensor::whole("w", weight)}, 1 << 30).entry};
  const std::string directory = partial.commit(manifest, {});

  const CheckpointReader reader(directory);
  EXPECT_EQ(reader.state().at("seed").as_int(), 1234);
  const Stream stream = device->default_stream();
  const Tensor back = Tensor::empty(*device, {4, 6}, DType::kF32, tag);
  reader.read_whole("w", stream, back);
  EXPECT_EQ(to_host<float>(stream, back), values);
  // Columns 4 and 5, then 0: boxes one after the other.
  const Tensor columns = Tensor::empty(*device, {12}, DType::kF32, tag);
  reader.read("w", {{4, 6}, {Box{{0, 4}, {4, 2}}, Box{{0, 0}, {4, 1}}}}, stream, columns);
  EXPECT_EQ(to_host<float>(stream, columns), (std::vector<float>{2, 2.5, 5, 5.5, 8, 8.5, 11, 11.5, 0, 3, 6, 9}));

  const Tensor half = Tensor::empty(*device, {4, 6}, DType::kBF16, tag);
  EXPECT_NE(cases::error_text([&] { reader.read_whole("w", stream, half); }).find("stored in"), std::string::npos);
  const Tensor other = Tensor::empty(*device, {6, 4}, DType::kF32, tag);
  EXPECT_NE(cases::error_text([&] { reader.read_whole("w", stream, other); }).find("has shape"), std::string::npos);
  EXPECT_NE(cases::error_text([&] { reader.read_whole("x", stream, back); }).find("tensor 'x' is not in"),
            std::string::npos);
}

// The files are plain safetensors: a tensor that stands whole keeps its name and shape, and is aligned.
TEST(RoundTrip, FilesAreSafetensors) {
  const TemporaryFolder folder;
  const std::string directory = cases::write_whole(folder.path(), 1);
  const SafetensorsFile file(directory + "/rank_00000.safetensors");
  EXPECT_EQ(file.entries().size(), cases::some_tensors().size());
  for (const StoredTensor& tensor : cases::some_tensors()) {
    const SafetensorsEntry& entry = file.at(tensor.name);
    EXPECT_EQ(entry.shape, tensor.shape);
    EXPECT_EQ(entry.dtype, tensor.dtype);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(entry.bytes.data()) % static_cast<size_t>(dtype_size(tensor.dtype)), 0u);
  }
}

TEST(RoundTrip, LimitsFileSize) {
  const TemporaryFolder folder;
  std::mt19937 random(5);
  const std::string directory = cases::write_split(folder.path(), 1, 1, random, 1000);
  EXPECT_TRUE(file_exists(directory + "/rank_00000.part_000.safetensors"));
  EXPECT_TRUE(file_exists(directory + "/rank_00000.part_001.safetensors"));
  EXPECT_FALSE(file_exists(directory + "/rank_00000.safetensors"));
  EXPECT_EQ(cases::contents_fault(CheckpointReader(directory), 1), "");
}

}  // namespace
}  // namespace conclave
