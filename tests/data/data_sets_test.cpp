#include "data/data_sets.h"

#include <filesystem>
#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "data/sample_counts.h"
#include "scratch.h"
#include "token_files.h"

namespace conclave {
namespace {

class DataSetsTest : public ScratchTest {
 protected:
  void SetUp() override {
    ScratchTest::SetUp();
    set_log_level(LogLevel::kOff);
    write_token_file(path("a"), 100, 10000);
    write_token_file(path("b"), 150, 20000);
    write_token_file(path("c"), 200, 30000);
    config_.split = "1,0,0";
    config_.seq_length = 8;
    config_.samples = {60, 0, 0};
    config_.cache.place = IndexCache::Place::kMemory;
  }
  void TearDown() override {
    set_log_level(LogLevel::kInfo);
    ScratchTest::TearDown();
  }
  Blend blend(const std::string& names, std::vector<double> weights) {
    Blend out;
    for (const char name : names) out.prefixes.push_back(path(std::string(1, name)));
    if (!weights.empty()) out.weights = std::move(weights);
    return out;
  }
  /// [source, sample] of samples [begin, end) of the run.
  std::vector<std::pair<std::string, int64_t>> picks(const DataSets& data, int64_t begin, int64_t end) {
    std::vector<std::pair<std::string, int64_t>> out;
    TokenSample sample;
    for (int64_t i = begin; i < end; ++i) {
      const SplitData& train = data.split(Split::kTrain);
      train.samples->fetch(i - data.segment_start(), sample);
      const std::string& name = train.sources.at(static_cast<size_t>(sample.origin.source))->name();
      out.emplace_back(name.substr(name.size() - 1), sample.origin.sample);
      texts_[name.substr(name.size() - 1)][sample.origin.sample] = sample.text;
    }
    return out;
  }
  static DataPosition through_json(const DataPosition& position) {
    return DataPosition::from_json(Json::parse(position.to_json().dump(), "position"));
  }

  DataConfig config_;
  std::map<std::string, std::map<int64_t, std::vector<int32_t>>> texts_;
};

TEST_F(DataSetsTest, TheSameBlendResumesToTheSameSamples) {
  config_.blend = blend("ab", {1, 3});
  const DataSets whole(config_);
  const DataSets resumed(config_, through_json(whole.position(37)));
  EXPECT_EQ(resumed.segment_start(), 0);
  EXPECT_EQ(picks(whole, 0, 60), picks(resumed, 0, 60));
  EXPECT_EQ(whole.position(37).to_json().dump(), resumed.position(37).to_json().dump());
}

TEST_F(DataSetsTest, AChangedBlendGoesOnInEachDataSet) {
  config_.blend = blend("ab", {1, 3});
  const DataSets first(config_);
  const auto before = picks(first, 0, 40);
  std::map<std::string, int64_t> used;
  for (const auto& [name, sample] : before) EXPECT_EQ(sample, used[name]++);
  EXPECT_EQ(used["a"], 10);
  EXPECT_EQ(used["b"], 30);

  config_.samples[0] = 100;
  config_.blend = blend("cab", {2, 1, 1});
  const DataSets second(config_, through_json(first.position(40)));
  EXPECT_EQ(second.segment_start(), 40);
  for (const auto& [name, sample] : picks(second, 40, 80)) EXPECT_EQ(sample, used[name]++);
  EXPECT_EQ(used["c"], 20);
  EXPECT_EQ(used["a"], 20);
  EXPECT_EQ(used["b"], 40);

  // b leaves and comes back.
  config_.blend = blend("ca", {1, 1});
  const DataSets third(config_, through_json(second.position(80)));
  for (const auto& [name, sample] : picks(third, 80, 90)) EXPECT_EQ(sample, used[name]++);
  config_.blend = blend("b", {});
  const DataSets fourth(config_, through_json(third.position(90)));
  EXPECT_EQ(fourth.segment_start(), 90);
  for (const auto& [name, sample] : picks(fourth, 90, 100)) EXPECT_EQ(sample, used[name]++);
  EXPECT_EQ(used["b"], 50);

  // Resuming inside a segment keeps it.
  const DataSets again(config_, through_json(fourth.position(95)));
  EXPECT_EQ(again.segment_start(), 90);
  EXPECT_EQ(picks(again, 90, 100), picks(fourth, 90, 100));
}

TEST_F(DataSetsTest, NoSampleComesTwiceBeforeTheDataAreUsedUp) {
  config_.blend = blend("ab", {1, 1});
  config_.samples[0] = 80;
  const DataSets first(config_);
  picks(first, 0, 80);
  config_.blend = blend("abc", {3, 1, 1});
  config_.samples[0] = 160;
  const DataSets second(config_, first.position(80));
  picks(second, 80, 160);
  for (const auto& [name, samples] : texts_) {
    std::set<std::vector<int32_t>> distinct;
    const int64_t epoch = second.split(Split::kTrain).datasets[name[0] - size_t{'a'}]->indices()[0].size();
    int64_t counted = 0;
    for (const auto& [sample, text] : samples) {
      if (sample >= epoch) continue;
      distinct.insert(text);
      ++counted;
    }
    EXPECT_EQ(static_cast<int64_t>(distinct.size()), counted) << name;
  }
}

TEST_F(DataSetsTest, ALongerRunKeepsWhatWasAndAppends) {
  config_.blend = blend("a", {});
  config_.samples[0] = 200;  // more than one epoch
  const DataSets first(config_);
  ASSERT_GT(first.split(Split::kTrain).datasets[0]->indices()[0].facts().epochs, 1);
  const int64_t size = first.split(Split::kTrain).samples->size();
  const auto before = picks(first, 0, size);
  const auto texts = texts_;
  config_.samples[0] = size + 150;
  const DataSets longer(config_, first.position(120));
  EXPECT_EQ(longer.segment_start(), 0);
  EXPECT_EQ(longer.split(Split::kTrain).datasets[0]->indices().size(), 2u);
  EXPECT_EQ(picks(longer, 0, size), before);
  EXPECT_EQ(texts_, texts);
  picks(longer, size, size + 150);
  // and once more, from inside the second piece
  config_.samples[0] = size + 1000;
  const DataSets longest(config_, through_json(longer.position(size + 100)));
  EXPECT_EQ(longest.split(Split::kTrain).datasets[0]->indices().size(), 3u);
  const auto grown = texts_;
  picks(longest, 0, size + 150);
  EXPECT_EQ(texts_, grown);
}

TEST_F(DataSetsTest, AnAppendedPieceHasAnOrderOfItsOwn) {
  config_.blend = blend("a", {});
  const int64_t epoch = DataSets(config_).split(Split::kTrain).samples->size();
  config_.samples[0] = epoch;
  const DataSets first(config_);
  config_.samples[0] = 2 * epoch;
  const DataSets longer(config_, first.position(epoch));
  const auto& pieces = longer.split(Split::kTrain).datasets[0]->indices();
  ASSERT_EQ(pieces.size(), 2u);
  int64_t same = 0;
  for (int64_t i = 0; i < 100; ++i) same += pieces[0].document(i) == pieces[1].document(i);
  EXPECT_LT(same, 20);
}

TEST_F(DataSetsTest, ChangedSequenceLengthStartsAnew) {
  config_.blend = blend("a", {});
  const DataSets first(config_);
  config_.seq_length = 16;
  config_.samples[0] = 60;
  const DataSets second(config_, first.position(40));
  EXPECT_EQ(second.segment_start(), 40);
  EXPECT_EQ(picks(second, 40, 60).front().second, 0);
}

TEST_F(DataSetsTest, MovedDataAreRecognised) {
  config_.blend = blend("ab", {1, 1});
  const DataSets first(config_);
  for (const char* suffix : {".bin", ".idx"}) rename_durably(path("a") + suffix, path("z") + suffix);
  config_.blend = blend("zb", {1, 1});
  const DataSets moved(config_, first.position(40));
  EXPECT_EQ(moved.segment_start(), 0);
}

TEST_F(DataSetsTest, ABlendWithoutWeightsGoesOnWithWhatIsLeft) {
  config_.blend = blend("ab", {});
  config_.samples[0] = 60;
  const DataSets first(config_);
  const int64_t left = first.split(Split::kTrain).datasets[0]->size() - first.position(60).sources[0].consumed;
  config_.blend = blend("ac", {});
  config_.samples[0] = std::nullopt;
  const DataSets second(config_, first.position(60));
  const SplitData& train = second.split(Split::kTrain);
  EXPECT_EQ(train.samples->size(), left + train.datasets[1]->size());
  EXPECT_EQ(train.blended->taken(train.samples->size())[0], left);
}

TEST_F(DataSetsTest, MockDataLeaveNoFilesBehind) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::create_directory(path("empty"));
  std::filesystem::current_path(path("empty"));
  config_.mock = true;
  config_.vocab_size = 50;
  config_.cache = {};
  config_.samples = {10, 5, 5};
  EXPECT_GE(DataSets(config_).split(Split::kTrain).samples->size(), 10);
  std::filesystem::current_path(before);
  EXPECT_TRUE(std::filesystem::is_empty(path("empty")));
}

TEST_F(DataSetsTest, ContradictionsAndMissingDataAreRefused) {
  const auto refusal = [&] { return error_of([&] { DataSets data(config_); }); };
  EXPECT_NE(refusal().find("0 sources of data"), std::string::npos);
  config_.blend = blend("a", {});
  config_.mock = true;
  EXPECT_NE(refusal().find("2 sources of data"), std::string::npos);
  config_.mock = false;
  config_.blend.prefixes = {path("nothing")};
  EXPECT_NE(refusal().find("nothing.idx' is missing"), std::string::npos);
  config_.blend.prefixes = {path("a.bin")};
  EXPECT_NE(refusal().find("without .bin"), std::string::npos);
  config_.blend.prefixes = {"0.3"};
  EXPECT_NE(refusal().find("every second word"), std::string::npos);
  config_.blend = blend("a", {});
  config_.split = "999,1,0";
  config_.samples = {10, 5, 0};
  EXPECT_NE(refusal().find("the valid split has none of its 100 documents"), std::string::npos);
  config_.samples = {10, 0, 0};
  EXPECT_EQ(DataSets(config_).split(Split::kValid).samples, nullptr);
  config_.split = "1,0,0";
  config_.seq_length = 1;
  EXPECT_NE(refusal().find("sequence length is 1"), std::string::npos);
  config_.seq_length = 8;
  config_.seed = -1;
  EXPECT_NE(refusal().find("seed is -1"), std::string::npos);
  config_.seed = 1;
  config_.samples[0] = int64_t{1} << 40;
  EXPECT_NE(refusal().find("epochs of its"), std::string::npos);
  config_.samples[0] = std::nullopt;
  config_.blend = blend("ab", {1, 1});
  EXPECT_NE(refusal().find("leave the weights out"), std::string::npos);
  config_.samples[0] = 10;
  config_.blend = blend("ab", {1, 0});
  EXPECT_NE(refusal().find("weight 0"), std::string::npos);
}

TEST_F(DataSetsTest, DamagedPositionsAreRefused) {
  config_.blend = blend("a", {});
  const Json good = DataSets(config_).position(10).to_json();
  Json bad = Json::parse(good.dump(), "x");
  bad["segment_start"] = 11;
  EXPECT_NE(error_of([&] { DataPosition::from_json(bad); }).find("segment that starts"), std::string::npos);
  EXPECT_NE(error_of([&] { DataPosition::from_json(Json::object()); }), "");
}

TEST(DataPath, FilesOfArgumentsAreRead) {
  const std::string file = testing::TempDir() + "conclave_data_args";
  write_quickly(file, "0.3 a\n0.7\tb\n");
  const Blend blend = parse_data_path(read_data_args(file));
  EXPECT_EQ(blend.prefixes, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(*blend.weights, (std::vector<double>{0.3, 0.7}));
  write_quickly(file, R"({"train": [0.5, "a", 1, "b"], "test": ["c"], "valid": null})");
  const auto words = read_per_split_data_args(file);
  EXPECT_EQ(words[0], (std::vector<std::string>{"0.5", "a", "1", "b"}));
  EXPECT_TRUE(words[1].empty());
  EXPECT_EQ(words[2], (std::vector<std::string>{"c"}));
  write_quickly(file, R"({"training": []})");
  EXPECT_NE(error_of([&] { read_per_split_data_args(file); }).find("'training'"), std::string::npos);
  remove_all(file);
}

TEST(SplitString, NonsenseIsRefused) {
  for (const char* text : {"", "a,b", "0,0,0", "1,2,3,4", "1.2.3,4", "."}) {
    EXPECT_NE(error_of([&] { parse_split(text); }).find("split"), std::string::npos) << text;
  }
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {}, {"a", "b", "1", "c"}, {"-1", "a"}, {"nan", "a"}, {"inf", "a", "1", "b"}}) {
    EXPECT_NE(error_of([&] { parse_data_path(words); }), "") << words.size();
  }
}

TEST(SampleCounts, FollowTheRounds) {
  SampleCountArgs args;
  args.train_iters = 100;
  args.global_batch_size = 8;
  args.eval_interval = 10;
  args.eval_iters = 5;
  EXPECT_EQ(*sample_counts(args).valid, 440);
  args.eval_global_batch_size = 4;
  EXPECT_EQ(*sample_counts(args).valid, 220);
  EXPECT_EQ(sample_counts(args).test, 20);
  args.start_eval_at_iter = 2000;
  EXPECT_EQ(*sample_counts(args).valid, 0);
  args.full_validation = true;
  EXPECT_FALSE(sample_counts(args).valid.has_value());
}

}  // namespace
}  // namespace conclave
