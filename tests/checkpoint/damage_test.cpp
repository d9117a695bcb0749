// Every damage is found, named with its file, and answered with what to do; nothing is read beyond a file.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/file.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/checkpoint_cases.h"
#include "checkpoint/part_writer.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;
using cases::error_text;
using cases::TemporaryFolder;

// Opens and reads everything; the text of what went wrong.
std::string load_fault(const std::string& directory, int64_t iteration) {
  return error_text([&] {
    const std::string fault = cases::contents_fault(CheckpointReader(directory), iteration);
    ASSERT_EQ(fault, "");
  });
}

void overwrite(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

std::vector<std::string> files_of(const std::string& directory) {
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(directory)) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

class Damage : public testing::Test {
 protected:
  TemporaryFolder folder_;
  std::mt19937 random_{6};
  std::string earlier_ = cases::write_whole(folder_.path(), 10);
  std::string directory_ = cases::write_split(folder_.path(), 20, 2, random_);

  int64_t below(int64_t limit) { return std::uniform_int_distribution<int64_t>(0, limit - 1)(random_); }
};

TEST_F(Damage, BitFlipsAreFoundInEveryRegion) {
  EXPECT_EQ(load_fault(directory_, 20), "no error");
  for (const std::string& path : files_of(directory_)) {
    const std::string good = read_file(path);
    for (int round = 0; round < 24; ++round) {
      std::string bad = good;
      // The first rounds hit the start and the end, where headers and short fields stand.
      const auto size = static_cast<int64_t>(good.size());
      const auto place = static_cast<size_t>(round < 8 ? round : round < 12 ? size - 1 - (round - 8) : below(size));
      bad[place] = static_cast<char>(bad[place] ^ (1 << below(8)));
      overwrite(path, bad);
      const auto faults = verify_checkpoint(directory_);
      ASSERT_FALSE(faults.empty()) << path << " byte " << place;
      EXPECT_EQ(faults[0].file, path) << faults[0].text;
    }
    overwrite(path, good);
  }
  EXPECT_TRUE(verify_checkpoint(directory_).empty());
}

TEST_F(Damage, LoadingNamesFileTensorAndCure) {
  for (const std::string& path : files_of(directory_)) {
    const std::string good = read_file(path);
    std::string bad = good;
    bad[bad.size() - 2] = static_cast<char>(bad[bad.size() - 2] ^ 4);
    overwrite(path, bad);
    const std::string text = load_fault(directory_, 20);
    EXPECT_NE(text.find("'" + path + "'"), std::string::npos) << text;
    EXPECT_NE(text.find("--ckpt-step 10"), std::string::npos) << text;
    if (path.ends_with(".safetensors")) {
      EXPECT_NE(text.find("tensor 'flags' in"), std::string::npos) << text;
      EXPECT_NE(text.find("do not match their checksum"), std::string::npos) << text;
    }
    // Without checksums the bytes come as they are, but the small files are always checked.
    CheckpointReaderSettings trusting;
    trusting.verify_checksums = false;
    if (path.ends_with(".safetensors")) {
      EXPECT_NE(cases::contents_fault(CheckpointReader(directory_, trusting), 20), "");
    }
    overwrite(path, good);
  }
}

TEST_F(Damage, TruncationAnywhereIsFound) {
  for (const std::string& path : files_of(directory_)) {
    const std::string good = read_file(path);
    const auto size = static_cast<int64_t>(good.size());
    for (int round = 0; round < 24; ++round) {
      const int64_t length = round < 9 ? round : round < 12 ? size - (round - 8) : below(size);
      ASSERT_EQ(::truncate(path.c_str(), length), 0);
      const auto faults = verify_checkpoint(directory_);
      ASSERT_FALSE(faults.empty()) << path << " length " << length;
      EXPECT_EQ(faults[0].file, path) << faults[0].text;
      if (round % 4 == 3) {
        const std::string text = load_fault(directory_, 20);
        EXPECT_NE(text.find(path), std::string::npos) << text;
        EXPECT_NE(text.find("--ckpt-step 10"), std::string::npos) << text;
      }
      overwrite(path, good);
    }
  }
}

TEST_F(Damage, MissingFiles) {
  for (const std::string& path : files_of(directory_)) {
    const std::string good = read_file(path);
    remove_all(path);
    const std::string text = load_fault(directory_, 20);
    EXPECT_NE(text.find(fs::path(path).filename().string()), std::string::npos) << text;
    EXPECT_FALSE(verify_checkpoint(directory_).empty());
    overwrite(path, good);
  }
}

// Changes that leave a text or a file readable.
TEST_F(Damage, WhatStillReadsIsFoundByItsChecksum) {
  const std::string index = directory_ + "/rank_00000.index.json", good = read_file(index);
  ASSERT_NE(good.find("stretches"), std::string::npos);
  overwrite(index, replace_all(good, "stretches", "stretchez"));
  const auto index_faults = verify_checkpoint(directory_);
  ASSERT_FALSE(index_faults.empty());
  EXPECT_EQ(index_faults[0].file, index);
  for (const std::string& text : {index_faults[0].text, load_fault(directory_, 20)})
    EXPECT_NE(text.find("does not match its checksum in manifest.json"), std::string::npos) << text;
  overwrite(index, good);
  const std::string data = directory_ + "/rank_00001.safetensors", bytes = read_file(data);
  overwrite(data, bytes + "x");
  const auto faults = verify_checkpoint(directory_);
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].text, fmt::format("'{}' has {} bytes, {} were written", data, bytes.size() + 1, bytes.size()));
}

// Ranks that contradict each other, as parts of different runs would.
TEST_F(Damage, PartsThatDoNotBelongTogether) {
  const auto write = [&](int64_t iteration, const std::vector<StoredTensor>& tensors, bool twice) {
    PartialDirectory partial(folder_.path(), iteration);
    Manifest manifest;
    manifest.iteration = iteration;
    for (size_t rank = 0; rank < tensors.size(); ++rank) {
      const cases::Held held = cases::hold(tensors[rank], ShardSpec::whole(tensors[rank].shape), iteration);
      manifest.ranks.push_back(
          write_rank_part(partial.path(), static_cast<int64_t>(rank), {held.as_tensor()}, 1 << 30).entry);
    }
    if (twice) manifest.ranks.push_back(manifest.ranks[0]);
    return partial.commit(manifest, {});
  };
  const auto list = [](const std::string& directory) {
    return error_text([&] { CheckpointReader(directory).tensors(); });
  };
  const StoredTensor plain{"w", DType::kF32, {4}};
  const std::string shapes = write(30, {plain, {"w", DType::kF32, {5}}}, false);
  EXPECT_NE(list(shapes).find("rank_00001.index.json' gives tensor 'w' another shape or dtype"), std::string::npos);
  const std::string dtypes = write(31, {plain, {"w", DType::kI32, {4}}}, false);
  EXPECT_NE(list(dtypes).find("another shape or dtype"), std::string::npos);
  const std::string files = write(32, {plain}, true);
  EXPECT_NE(list(files).find("rank_00000.safetensors' is claimed by two ranks"), std::string::npos);
}

// A part that lacks boxes or repeats another's: found by the numbers, though every checksum is right.
TEST_F(Damage, HolesAndOverlaps) {
  const StoredTensor tensor{"w", DType::kF32, {6, 4}};
  const auto write = [&](int64_t iteration, const std::vector<Box>& boxes) {
    PartialDirectory partial(folder_.path(), iteration);
    Manifest manifest;
    manifest.iteration = iteration;
    for (size_t rank = 0; rank < boxes.size(); ++rank) {
      const cases::Held held = cases::hold(tensor, {tensor.shape, {boxes[rank]}}, iteration);
      manifest.ranks.push_back(
          write_rank_part(partial.path(), static_cast<int64_t>(rank), {held.as_tensor()}, 1 << 30).entry);
    }
    return partial.commit(manifest, {});
  };
  const auto read_all = [&](const std::string& directory, int64_t iteration) {
    return error_text(
        [&] { cases::contents_fault(CheckpointReader(directory), "w", ShardSpec::whole(tensor.shape), iteration); });
  };
  const Box top{{0, 0}, {3, 4}}, bottom{{3, 0}, {3, 4}}, low{{4, 0}, {2, 4}}, high{{2, 0}, {4, 4}};
  EXPECT_EQ(read_all(write(30, {top, bottom}), 30), "no error");
  const std::string hole = write(31, {top, low}), overlap = write(32, {top, high});
  EXPECT_NE(
      read_all(hole, 31).find("tensor 'w' in '" + hole + "' is not whole: 4 of its 24 elements are stored nowhere"),
      std::string::npos);
  EXPECT_NE(read_all(overlap, 32).find("its boxes [0:3, 0:4] and [2:6, 0:4] overlap"), std::string::npos);
  ASSERT_EQ(verify_checkpoint(hole).size(), 1u);
  EXPECT_EQ(verify_checkpoint(hole)[0].tensor, "w");
  ASSERT_EQ(verify_checkpoint(overlap).size(), 1u);
}

// Indexes that contradict themselves: sealed with right checksums, as a faulty or hostile writer would.
TEST(IndexText, ContradictionsAreRefused) {
  const TemporaryFolder folder;
  const std::string directory = cases::write_whole(folder.path(), 1);
  const std::string good = read_file(directory + "/rank_00000.index.json");
  const auto fault = [&](const std::string& from, const std::string& to) {
    EXPECT_NE(good.find(from), std::string::npos) << from;
    return error_text([&] { parse_rank_index(replace_all(good, from, to), "INDEX"); });
  };
  EXPECT_EQ(error_text([&] { parse_rank_index(good, "INDEX"); }), "no error");
  EXPECT_NE(fault("\"schema\":1", "\"schema\":2").find("its schema is 2"), std::string::npos);
  EXPECT_NE(fault("\"begin\":[0,0,0]", "\"begin\":[1,0,0]").find("lies outside its shape"), std::string::npos);
  EXPECT_NE(fault("\"begin\":[0,0,0]", "\"begin\":[0,0]").find("lies outside its shape"), std::string::npos);
  EXPECT_NE(fault("\"shape\":[7]", "\"shape\":[-7]").find("negative size"), std::string::npos);
  EXPECT_NE(fault("\"shape\":[7]", "\"shape\":[9223372036854775807,9223372036854775807]").find("absurdly large"),
            std::string::npos);
  EXPECT_NE(fault("\"dtype\":\"BF16\"", "\"dtype\":\"F32\"").find("bytes"), std::string::npos);
  EXPECT_NE(fault("\"dtype\":\"BF16\"", "\"dtype\":\"X\"").find("INDEX"), std::string::npos);
  EXPECT_NE(fault("\"file\":\"rank_00000.safetensors\"", "\"file\":\"../../etc/passwd\"").find("no plain file name"),
            std::string::npos);
  EXPECT_NE(fault("\"file\":\"rank_00000.safetensors\"", "\"file\":\"other\"").find("not listed"), std::string::npos);
  EXPECT_NE(fault("\"name\":\"flags\"", "\"name\":\"empty\"").find("stands twice"), std::string::npos);
  EXPECT_NE(fault("\"header_bytes\":", "\"header_bytes\":1").find("INDEX"), std::string::npos);
  EXPECT_NE(fault("\"offset\":", "\"offset\":9").find("INDEX"), std::string::npos);
  EXPECT_NE(fault("\"offset\":", "\"offset\":-").find("INDEX"), std::string::npos);
  EXPECT_NE(fault("\"tensors\":", "\"tensor\":").find("key 'tensors' is missing"), std::string::npos);
  EXPECT_NE(error_text([&] { parse_rank_index("[]", "INDEX"); }).find("INDEX"), std::string::npos);
}

TEST(ManifestText, KeepsEverythingAndRefusesNewerSchemas) {
  Manifest manifest;
  manifest.iteration = 123;
  manifest.tensor_bytes = 456;
  manifest.time = 1e9 / 3;
  manifest.ranks = {{"rank_00000.index.json", 10, 0xfedcba9876543210u}, {"rank_00001.index.json", 11, 1}};
  manifest.state["learning_rate"] = 0.1;
  manifest.state["nested"]["list"] = Json(Json::Array{Json(1), Json("two"), Json(nullptr)});
  const std::string text = manifest_text(manifest);
  const Manifest back = parse_manifest(text, "M");
  EXPECT_EQ(back.iteration, 123);
  EXPECT_EQ(back.tensor_bytes, 456);
  EXPECT_EQ(back.time, manifest.time);
  ASSERT_EQ(back.ranks.size(), 2u);
  EXPECT_EQ(back.ranks[0].checksum, 0xfedcba9876543210u);
  EXPECT_EQ(back.state.dump(), manifest.state.dump());
  EXPECT_NE(error_text([&] { parse_manifest(replace_all(text, "123", "124"), "M"); }).find("does not match"),
            std::string::npos);
  std::string newer = replace_all(text, "\"schema\": 1", "\"schema\": 2");
  newer.replace(13, 16, "0000000000000000");
  newer.replace(13, 16, hex64(hash64(newer)));
  EXPECT_NE(error_text([&] { parse_manifest(newer, "M"); }).find("'M' has schema 2, this program knows 1"),
            std::string::npos);
}

}  // namespace
}  // namespace conclave
