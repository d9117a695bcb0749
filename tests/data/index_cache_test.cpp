#include "data/index_cache.h"

#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "data/gpt_index.h"
#include "data/indexed_dataset.h"
#include "scratch.h"
#include "token_files.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

class IndexCacheTest : public ScratchTest {
 protected:
  void SetUp() override {
    ScratchTest::SetUp();
    set_log_level(LogLevel::kError);
    cache_.place = IndexCache::Place::kFolder;
    cache_.folder = path("cache");
    recipe_.label = "test";
    recipe_.description = Json::object();
    recipe_.description["kind"] = "test";
    recipe_.plan = [this] {
      ++built_;
      IndexPlan plan;
      plan.facts = Json::object();
      plan.facts["answer"] = 42;
      plan.sections = {{"numbers", DType::kI32, 1000}, {"none", DType::kI64, 0}, {"small", DType::kI16, 3}};
      return plan;
    };
    recipe_.fill = [](const IndexPlan&, std::span<const std::span<std::byte>> arrays) {
      for (size_t i = 0; i < 1000; ++i) reinterpret_cast<int32_t*>(arrays[0].data())[i] = static_cast<int32_t>(i * i);
      reinterpret_cast<int16_t*>(arrays[2].data())[2] = 7;
    };
  }
  void TearDown() override {
    set_log_level(LogLevel::kInfo);
    ScratchTest::TearDown();
  }
  void load_and_check() {
    const auto file = load_or_build_index(cache_, path("data"), recipe_);
    EXPECT_EQ(file->facts().at("answer").as_int(), 42);
    EXPECT_EQ(file->view<int32_t>("numbers").size(), 1000u);
    EXPECT_EQ(file->view<int32_t>("numbers")[999], 999 * 999);
    EXPECT_TRUE(file->view<int64_t>("none").empty());
    EXPECT_EQ(file->view<int16_t>("small")[2], 7);
  }
  std::vector<std::string> index_files() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(cache_.folder)) {
      if (entry.path().extension() != ".lock") out.push_back(entry.path().string());
    }
    return out;
  }

  IndexCache cache_;
  IndexRecipe recipe_;
  int built_ = 0;
};

TEST_F(IndexCacheTest, IsBuiltOnceAndThenMapped) {
  load_and_check();
  load_and_check();
  EXPECT_EQ(built_, 1);
  EXPECT_EQ(index_files().size(), 1u);
  recipe_.description["kind"] = "other";
  load_and_check();
  EXPECT_EQ(built_, 2);
  EXPECT_EQ(index_files().size(), 2u);
}

TEST_F(IndexCacheTest, EveryDamageIsFoundAndRepaired) {
  load_and_check();
  const std::string file = index_files().at(0), whole = read_file(file);
  std::vector<std::string> broken = {
      "", "x", whole.substr(0, 20), whole.substr(0, whole.size() - 1), whole + "x", std::string(whole.size(), '\0')};
  for (const size_t at : {size_t{0}, size_t{9}, size_t{17}, size_t{30}, size_t{100}, size_t{4096}, whole.size() - 70}) {
    broken.push_back(whole);
    broken.back()[at] = static_cast<char>(broken.back()[at] ^ 4);
  }
  int expected = 1;
  for (const std::string& content : broken) {
    write_quickly(file, content);
    load_and_check();
    EXPECT_EQ(built_, ++expected);
    EXPECT_EQ(read_file(file), whole);
  }
}

TEST_F(IndexCacheTest, ManyAtOnceBuildItOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([this] { load_and_check(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(built_, 1);
}

TEST_F(IndexCacheTest, AnUnwritableFolderIsAnErrorButBesideTheDataOnlyAWarning) {
  write_quickly(path("cache"), "a file where the folder should be");
  EXPECT_NE(error_of([&] { load_or_build_index(cache_, path("data"), recipe_); }).find(path("cache")),
            std::string::npos);
  cache_.place = IndexCache::Place::kBesideData;
  write_quickly(path("index-cache"), "the same");
  load_and_check();
  load_and_check();
  EXPECT_EQ(built_, 2);
}

TEST_F(IndexCacheTest, AFailedBuildLeavesNothing) {
  recipe_.fill = [](const IndexPlan&, std::span<const std::span<std::byte>>) { throw_user("failed"); };
  EXPECT_EQ(error_of([&] { load_or_build_index(cache_, path("data"), recipe_); }), "failed");
  EXPECT_TRUE(index_files().empty());
}

TEST_F(IndexCacheTest, NewDataUnderAnOldNameGetANewIndex) {
  GptIndexSpec spec;
  spec.seq_length = 4;
  const auto samples_of = [&](int64_t documents) {
    write_token_file(path("d"), documents, 1);
    const IndexedDataset data(path("d"), IndexCheck::kHeader);
    spec.past_last = documents;
    return GptIndex(data, spec, cache_, "gpt").size();
  };
  const int64_t before = samples_of(20);
  spec.past_last = 20;
  EXPECT_GT(samples_of(21), before);
  EXPECT_EQ(index_files().size(), 2u);
}

TEST_F(IndexCacheTest, DamagedDataAreFoundBeforeAnIndexIsMade) {
  write_token_file(path("d"), 20, 1);
  std::string idx = read_file(path("d.idx"));
  idx[34 + 5 * 4 + 3] = '\x80';  // length of sequence 5 becomes negative
  write_quickly(path("d.idx"), idx);
  const IndexedDataset data(path("d"), IndexCheck::kHeader);
  GptIndexSpec spec;
  spec.seq_length = 4;
  spec.past_last = 20;
  EXPECT_NE(error_of([&] { GptIndex(data, spec, cache_, "gpt"); }).find("sequence 5"), std::string::npos);
}

}  // namespace
}  // namespace conclave
