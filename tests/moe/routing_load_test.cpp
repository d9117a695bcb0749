// Declared routings: how many rows and tokens they say, and what a trace gives back.
#include "moe/routing_load.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "moe/routing_trace.h"

namespace conclave {
namespace {

std::vector<int64_t> all_rows(const DeclaredRouting& routing, const RoutingSizes& sizes, int64_t rank = 0) {
  std::vector<int64_t> rows;
  for (int64_t e = 0; e < sizes.experts; ++e) rows.push_back(routing.rows(rank, e));
  return rows;
}
int64_t sum(const std::vector<int64_t>& rows) { return std::accumulate(rows.begin(), rows.end(), int64_t{0}); }

TEST(RoutingLoad, EveryChoiceIsDeclaredOnceAndNoTokenTwiceAtAnExpert) {
  for (const char* text : {"balanced", "zipf:0", "zipf:0.7", "zipf:1.5", "zipf:30"}) {
    for (const RoutingSizes& sizes : {RoutingSizes{100, 2, 8}, RoutingSizes{7, 8, 64}, RoutingSizes{33, 6, 6},
                                      RoutingSizes{1, 1, 3}, RoutingSizes{0, 2, 4}}) {
      const auto routing = make_routing_load(text)->declare({}, sizes);
      const std::vector<int64_t> rows = all_rows(*routing, sizes);
      EXPECT_EQ(sum(rows), sizes.tokens * sizes.topk) << text;
      for (size_t e = 0; e < rows.size(); ++e) {
        EXPECT_LE(rows[e], sizes.tokens) << text << " expert " << e;
        EXPECT_GE(e > 0 ? rows[e - 1] : rows[e], rows[e]) << text << " expert " << e << ": the first are the fullest";
      }
      const std::vector<uint8_t> everywhere(static_cast<size_t>(sizes.experts), 1);
      const std::vector<uint8_t> nowhere(static_cast<size_t>(sizes.experts), 0);
      EXPECT_EQ(routing->tokens(0, 0, sizes.tokens, nowhere), 0) << text;
      EXPECT_LE(routing->tokens(0, 0, sizes.tokens, everywhere), sizes.tokens) << text;
      EXPECT_GE(routing->tokens(0, 0, sizes.tokens, everywhere), sizes.tokens * 6 / 10) << text;
    }
  }
}

TEST(RoutingLoad, ZipfFollowsItsLaw) {
  const RoutingSizes sizes{1200, 1, 3};
  // Shares 1, 1/2, 1/3 of 11/6; and with 2 choices the first expert is full: the others share the rest 3 : 2.
  EXPECT_EQ(all_rows(*make_routing_load("zipf:1")->declare({}, sizes), sizes), (std::vector<int64_t>{655, 327, 218}));
  const RoutingSizes two{1200, 2, 3};
  EXPECT_EQ(all_rows(*make_routing_load("zipf:1")->declare({}, two), two), (std::vector<int64_t>{1200, 720, 480}));
  const RoutingSizes dropping{1200, 2, 3, 500};
  EXPECT_EQ(all_rows(*make_routing_load("zipf:1")->declare({}, dropping), dropping),
            (std::vector<int64_t>{500, 500, 480}));
  EXPECT_THROW(make_routing_load("zipf:"), UserError);
  EXPECT_THROW(make_routing_load("zipf:-1"), UserError);
  EXPECT_THROW(make_routing_load("/no/such/folder"), UserError);
}

class TraceFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::temp_directory_path() / ("conclave_load_" + std::to_string(::getpid()))).string();
    std::filesystem::remove_all(path_);
    make_directories(path_ + "/iter_0000003");
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  void write(int64_t rank, const std::vector<int64_t>& shape, const std::vector<int16_t>& values,
             const std::string& format = "conclave routing trace 1") {
    std::string content = safetensors_header({{"1.router.experts", DType::kI16, shape}}, {{"format", format}});
    content.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int16_t));
    write_file_atomically(path_ + "/iter_0000003/rank_0000" + std::to_string(rank) + ".safetensors", content);
  }
  std::string message(int64_t rank, const RoutingMoment& moment, const RoutingSizes& sizes) {
    try {
      make_routing_load(path_)->declare(moment, sizes)->rows(rank, 0);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }
  std::string path_;
};

TEST_F(TraceFolder, SaysWhatEachRankChose) {
  write(0, {3, 2}, {0, 1, 3, 2, 1, 0});
  write(1, {3, 2}, {3, -1, 3, 2, 3, -1});
  const RoutingSizes sizes{3, 2, 4};
  const auto load = make_routing_load(path_);
  const auto routing = load->declare({3, 1, "router"}, sizes);
  EXPECT_EQ(all_rows(*routing, sizes, 0), (std::vector<int64_t>{2, 2, 1, 1}));
  EXPECT_EQ(all_rows(*routing, sizes, 1), (std::vector<int64_t>{0, 0, 1, 3}));
  EXPECT_EQ(routing->tokens(0, 0, 3, {1, 0, 0, 0}), 2);
  EXPECT_EQ(routing->tokens(0, 0, 2, {1, 1, 0, 0}), 1);
  EXPECT_EQ(routing->tokens(1, 0, 3, {1, 1, 1, 0}), 1);
}

TEST_F(TraceFolder, RefusesWhatIsNotThereOrDoesNotFit) {
  const RoutingSizes sizes{3, 2, 4};
  const RoutingMoment moment{3, 1, "router"};
  write(0, {3, 2}, {0, 1, 3, 2, 1, 0});
  EXPECT_EQ(message(0, moment, sizes), "");
  EXPECT_NE(message(1, moment, sizes).find("step 3 of rank 1 was not traced"), std::string::npos);
  EXPECT_NE(message(0, {4, 1, "router"}, sizes).find("step 4 of rank 0 was not traced"), std::string::npos);
  EXPECT_NE(message(0, {3, 0, "router"}, sizes).find("has no '0.router.experts'"), std::string::npos);
  EXPECT_NE(message(0, moment, {4, 2, 4}).find("3 tokens of 2 choices on a rank, this job 4 of 2"), std::string::npos);
  EXPECT_NE(message(0, moment, {3, 2, 3}).find("experts beyond the 3"), std::string::npos);
  write(0, {6}, {0, 1, 3, 2, 1, 0});
  EXPECT_NE(message(0, moment, sizes).find("is no matrix of choices"), std::string::npos);
  write(0, {3, 2}, {0, 1, 3, 2, 1, 0}, "something else");
  EXPECT_NE(message(0, moment, sizes).find("is no routing trace"), std::string::npos);
  write_file_atomically(path_ + "/iter_0000003/rank_00000.safetensors", "garbage");
  EXPECT_NE(message(0, moment, sizes), "");
}

}  // namespace
}  // namespace conclave
