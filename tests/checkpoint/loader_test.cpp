// Loading by several ranks together, whoever wrote the checkpoint.
#include "checkpoint/loader.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "checkpoint/checkpoint_cases.h"
#include "checkpoint/tensor_directory.h"
#include "checkpoint/thread_ranks.h"

namespace conclave {
namespace {

using cases::error_text;
using cases::TemporaryFolder;

// What one rank wants, and its memory.
struct Wanted {
  std::vector<CheckpointTensor> tensors;

  void add(const StoredTensor& stored, const ShardSpec& shard, const Stream& stream) {
    const Tensor memory =
        Tensor::empty(stream.device(), {shard.element_count()}, stored.dtype, {MemoryCategory::kWorkspace, "test"});
    tensors.push_back(CheckpointTensor::sharded(stored.name, shard, memory));
  }
  std::string fault(int64_t iteration) const {
    for (const CheckpointTensor& tensor : tensors) {
      const cases::Held expected =
          cases::hold({tensor.name, tensor.dtype, tensor.shard.global_shape}, tensor.shard, iteration);
      if (!std::equal(expected.bytes.begin(), expected.bytes.end(), tensor.tensor.raw())) return tensor.name;
    }
    return "";
  }
};

bool nothing_may_be_left(const std::string&) { return false; }

LoadArgs args_for(const std::string& directory, const Wanted& wanted, Communicator& world, const Stream& stream) {
  return {.directory = directory,
          .wanted = wanted.tensors,
          .may_be_left = nothing_may_be_left,
          .world = world,
          .stream = stream};
}

// Every tensor split at random over the ranks; every third one whole on all.
Wanted share_of(int rank, int size, unsigned seed, const Stream& stream) {
  std::mt19937 random(seed);
  Wanted wanted;
  int64_t number = 0;
  for (const StoredTensor& tensor : cases::some_tensors()) {
    const ShardSpec shard = cases::random_split(tensor.shape, size, random)[static_cast<size_t>(rank)];
    if (number++ % 3 == 0) {
      wanted.add(tensor, ShardSpec::whole(tensor.shape), stream);
    } else if (!shard.boxes.empty()) {
      wanted.add(tensor, shard, stream);
    }
  }
  return wanted;
}

TEST(Loader, AnyRanksLoadWhatAnyRanksWrote) {
  std::mt19937 random(11);
  for (int readers = 1; readers <= 5; ++readers) {
    for (const int64_t writers : {1, 3, 7}) {
      const TemporaryFolder folder;
      const std::string directory = cases::write_split(folder.path(), 4, writers, random, 1 << 20);
      cases::on_ranks(readers, [&](int rank, Communicator& world, const Stream& stream) {
        const Wanted wanted = share_of(rank, readers, static_cast<unsigned>(writers), stream);
        load_checkpoint(args_for(directory, wanted, world, stream));
        EXPECT_EQ(wanted.fault(4), "") << readers << " readers, " << writers << " writers";
      });
    }
  }
}

TEST(Loader, TextsGoToTheirMembers) {
  cases::on_ranks(3, [](int rank, Communicator& world, const Stream& stream) {
    std::vector<std::string> texts;
    for (int to = 0; to < 3; ++to)
      texts.push_back(std::string(static_cast<size_t>(rank * to), static_cast<char>('a' + rank)));
    const std::vector<std::string> got = exchange_texts(world, stream, texts);
    for (int from = 0; from < 3; ++from)
      EXPECT_EQ(got[static_cast<size_t>(from)],
                std::string(static_cast<size_t>(rank * from), static_cast<char>('a' + from)));
  });
}

// What every rank of three says, when rank 1 wants and gets what `change` makes of it.
std::vector<std::string> errors_with(const std::string& directory,
                                     const std::function<void(Wanted&, const Stream&)>& change) {
  std::vector<std::string> errors(3);
  cases::on_ranks(3, [&](int rank, Communicator& world, const Stream& stream) {
    Wanted wanted;
    for (const StoredTensor& tensor : cases::some_tensors()) wanted.add(tensor, ShardSpec::whole(tensor.shape), stream);
    if (rank == 1) change(wanted, stream);
    errors[static_cast<size_t>(rank)] =
        error_text([&] { load_checkpoint(args_for(directory, wanted, world, stream)); });
  });
  EXPECT_EQ(errors[0], errors[1]);
  EXPECT_EQ(errors[0], errors[2]);
  return errors;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Loader, WhatDoesNotFitIsToldToAll) {
  const TemporaryFolder folder;
  std::mt19937 random(5);
  const std::string directory = cases::write_split(folder.path(), 4, 4, random);
  EXPECT_EQ(errors_with(directory, [](Wanted&, const Stream&) {})[0], "no error");
  const std::string text = errors_with(directory, [](Wanted& wanted, const Stream& stream) {
    wanted.add({"another", DType::kF32, {3}}, ShardSpec::whole({3}), stream);
    wanted.tensors[1] =
        CheckpointTensor::whole(wanted.tensors[1].name, Tensor::empty(stream.device(), {8}, DType::kF32, {}));
    wanted.tensors[2].dtype = DType::kF64;
  })[0];
  EXPECT_TRUE(text.starts_with("rank 1: checkpoint '" + directory + "' does not fit the model:")) << text;
  EXPECT_TRUE(contains(text, "\n  'another' [3] is missing in the checkpoint\n")) << text;
  EXPECT_TRUE(contains(text, "'decoder.layers.0.mlp.router.expert_bias' is [7] in the checkpoint, [8] in the model"))
      << text;
  EXPECT_TRUE(contains(text, "'embedding.word_embeddings.weight' is bf16 in the checkpoint, f64 in the model")) << text;
}

TEST(Loader, WhatNobodyWantsIsTold) {
  const TemporaryFolder folder;
  const std::string directory = cases::write_whole(folder.path(), 4);
  std::vector<std::string> errors(2);
  cases::on_ranks(2, [&](int rank, Communicator& world, const Stream& stream) {
    Wanted wanted;
    for (const StoredTensor& tensor : cases::some_tensors()) {
      if (tensor.name != "flags" && tensor.name != "empty") wanted.add(tensor, ShardSpec::whole(tensor.shape), stream);
    }
    LoadArgs args = args_for(directory, wanted, world, stream);
    args.may_be_left = [](const std::string& name) { return name == "empty"; };
    errors[static_cast<size_t>(rank)] = error_text([&] { load_checkpoint(args); });
  });
  EXPECT_TRUE(contains(errors[0], "\n  'flags' [13] has no place in the model\n")) << errors[0];
  EXPECT_FALSE(contains(errors[0], "'empty'")) << errors[0];
  EXPECT_EQ(errors[0], errors[1]);
}

TEST(Loader, DamageIsToldToAll) {
  const TemporaryFolder folder;
  std::mt19937 random(6);
  const std::string directory = cases::write_split(folder.path(), 4, 2, random);
  const auto nothing = [](Wanted&, const Stream&) {};
  const std::string file = directory + "/rank_00001.safetensors";
  std::string bytes = read_file(file);
  const std::string good = bytes;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_file_atomically(file, bytes);
  std::string text = errors_with(directory, nothing)[0];
  EXPECT_TRUE(text.starts_with("rank 0: [checkpoint/load] tensor '")) << text;
  EXPECT_TRUE(contains(text, "rank_00001.safetensors': bytes ") && contains(text, "do not match their checksum"))
      << text;
  write_file_atomically(file, good);
  const std::string index = directory + "/rank_00001.index.json";
  std::filesystem::remove(index);  // read by rank 1 alone
  text = errors_with(directory, nothing)[0];
  EXPECT_TRUE(text.starts_with("rank 1: [checkpoint/load] ") && contains(text, "rank_00001.index.json")) << text;
  std::filesystem::remove(directory + "/manifest.json");
  text = errors_with(directory, nothing)[0];
  EXPECT_TRUE(text.starts_with("rank 0: [checkpoint/load] '" + directory + "' is no complete checkpoint")) << text;
}

}  // namespace
}  // namespace conclave
