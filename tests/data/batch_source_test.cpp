#include "data/batch_source.h"

#include <unistd.h>

#include "base/error.h"
#include "scratch.h"
#include "token_files.h"

namespace conclave {
namespace {

class BatchSourceTest : public ScratchTest {
 protected:
  void SetUp() override {
    ScratchTest::SetUp();
    write_token_file(path("a"), 60, 1000);
    config_.data.blend.prefixes = {path("a")};
    config_.data.split = "80,20,0";
    config_.data.seq_length = 8;
    config_.data.samples = {100, 10, 0};
    config_.data.cache.place = IndexCache::Place::kMemory;
  }
  BatchConfig config_;
};

std::vector<int64_t> ordinals_of(BatchStream& stream) {
  std::vector<int64_t> out;
  while (auto batch = stream.next()) out.insert(out.end(), batch->ordinals.begin(), batch->ordinals.end());
  return out;
}

TEST_F(BatchSourceTest, ThreadsChangeNothing) {
  config_.fields.reset_attention_mask = config_.fields.reset_position_ids = config_.fields.eod_mask_loss = true;
  const BatchSource source(config_);
  StreamSpec spec;
  spec.micro_batch_size = 3;
  spec.workers = 0;
  const auto plain = source.stream(Split::kTrain, spec);
  spec.workers = 3;
  const auto threaded = source.stream(Split::kTrain, spec);
  int64_t batches = 0;
  while (true) {
    const auto a = plain->next(), b = threaded->next();
    ASSERT_EQ(a.has_value(), b.has_value());
    if (!a) break;
    ++batches;
    EXPECT_EQ(a->tokens, b->tokens);
    EXPECT_EQ(a->labels, b->labels);
    EXPECT_EQ(a->loss_mask, b->loss_mask);
    EXPECT_EQ(a->position_ids, b->position_ids);
    EXPECT_EQ(a->cu_seqlens, b->cu_seqlens);
    EXPECT_EQ(a->ordinals, b->ordinals);
    EXPECT_EQ(plain->consumed_samples(), batches * 3);
    EXPECT_EQ(threaded->consumed_samples(), batches * 3);
  }
  EXPECT_EQ(batches, source.size(Split::kTrain) / 3);
  EXPECT_FALSE(threaded->next().has_value());
}

TEST_F(BatchSourceTest, LabelsFollowTokensAndOriginsNameThem) {
  config_.fields.reset_attention_mask = true;
  const BatchSource source(config_);
  const auto stream = source.stream(Split::kTrain, {.micro_batch_size = 2});
  const auto batch = stream->next();
  ASSERT_TRUE(batch.has_value());
  ASSERT_EQ(batch->tokens.size(), 16u);
  for (size_t row = 0; row < 2; ++row) {
    std::vector<int32_t> text;
    for (const SamplePart& part : batch->origins[row].parts) {
      std::vector<int32_t> tokens(static_cast<size_t>(part.count));
      source.data().split(Split::kTrain).sources[0]->read(part.sequence, part.offset, tokens);
      text.insert(text.end(), tokens.begin(), tokens.end());
    }
    ASSERT_EQ(text.size(), 9u);
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(batch->tokens[row * 8 + i], text[i]);
      EXPECT_EQ(batch->labels[row * 8 + i], text[i + 1]);
    }
    const std::vector<int32_t>& bounds = batch->cu_seqlens[row];
    EXPECT_EQ(bounds.front(), 0);
    EXPECT_EQ(bounds.back(), 8);
    for (size_t k = 1; k + 1 < bounds.size(); ++k) {
      EXPECT_EQ(batch->tokens[row * 8 + static_cast<size_t>(bounds[k]) - 1], 0);
    }
  }
  const Json origin = source.describe(Split::kTrain, batch->origins[0]);
  EXPECT_EQ(origin.at("path").as_string(), path("a"));
  EXPECT_EQ(origin.at("parts").size(), batch->origins[0].parts.size());
}

TEST_F(BatchSourceTest, ResumingGivesTheRestAndRanksShareIt) {
  const BatchSource source(config_);
  const auto whole = source.stream(Split::kTrain, {.micro_batch_size = 4});
  const std::vector<int64_t> all = ordinals_of(*whole);
  const auto resumed = source.stream(Split::kTrain, {.micro_batch_size = 2, .consumed_samples = 24});
  const std::vector<int64_t> rest = ordinals_of(*resumed);
  EXPECT_EQ(rest.front(), 24);
  EXPECT_EQ(rest.back(), source.size(Split::kTrain) / 2 * 2 - 1);
  EXPECT_EQ(all.front(), 0);
  std::vector<int64_t> shared;
  for (int64_t rank = 0; rank < 2; ++rank) {
    const auto stream =
        source.stream(Split::kTrain, {.micro_batch_size = 2, .data_parallel_rank = rank, .data_parallel_size = 2});
    const auto first = stream->next();
    shared.insert(shared.end(), first->ordinals.begin(), first->ordinals.end());
    EXPECT_EQ(stream->consumed_samples(), 4);
  }
  EXPECT_EQ(shared, (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST_F(BatchSourceTest, CyclicGoesThroughEveryEpochAndResumesInside) {
  config_.data.dataloader_type = DataloaderType::kCyclic;
  config_.data.samples[0] = 40;
  const BatchSource source(config_);
  const int64_t slice = 6, epoch = source.size(Split::kTrain) / slice * slice;
  StreamSpec spec{.micro_batch_size = 3, .data_parallel_rank = 1, .data_parallel_size = 2};
  const auto whole = source.stream(Split::kTrain, spec);
  std::vector<std::vector<int32_t>> tokens;
  std::vector<int64_t> ordinals;
  for (int64_t i = 0; i < 3 * epoch / slice; ++i) {
    const auto batch = whole->next();
    ASSERT_TRUE(batch.has_value());
    tokens.push_back(batch->tokens);
    ordinals.push_back(batch->ordinals[0]);
  }
  for (size_t i = 0; i < ordinals.size(); ++i) EXPECT_EQ(ordinals[i], static_cast<int64_t>(i) * slice + 3);
  EXPECT_NE(tokens[0], tokens[static_cast<size_t>(epoch / slice)]);  // another order in the next epoch
  spec.consumed_samples = epoch + 2 * slice;
  const auto resumed = source.stream(Split::kTrain, spec);
  for (size_t i = static_cast<size_t>(epoch / slice + 2); i < tokens.size(); ++i) {
    EXPECT_EQ(resumed->next()->tokens, tokens[i]) << i;
  }
}

TEST_F(BatchSourceTest, TokensOutsideTheVocabularyAreRefusedAtTheirPlace) {
  config_.vocab_size = 1100;
  const BatchSource source(config_);
  for (const int64_t workers : {0, 2}) {
    const auto stream = source.stream(Split::kTrain, {.workers = workers});
    const std::string text = error_of([&] {
      while (stream->next()) {
      }
    });
    EXPECT_NE(text.find("outside the vocabulary of 1100"), std::string::npos) << text;
    EXPECT_EQ(error_of([&] { stream->next(); }), text);  // and stays refused
  }
}

TEST_F(BatchSourceTest, DataThatShrinkAreNamed) {
  const BatchSource source(config_);
  ASSERT_EQ(::truncate(path("a.bin").c_str(), 40), 0);
  const auto stream = source.stream(Split::kTrain, {});
  const std::string text = error_of([&] {
    while (stream->next()) {
    }
  });
  EXPECT_NE(text.find(path("a.bin")), std::string::npos) << text;
}

TEST_F(BatchSourceTest, AStreamMayBeLeftInTheMiddle) {
  const BatchSource source(config_);
  for (int i = 0; i < 20; ++i) {
    const auto stream = source.stream(Split::kTrain, {.workers = 4});
    stream->next();
  }
}

TEST_F(BatchSourceTest, MissingSplitsAndUsedUpDataAreRefused) {
  const BatchSource source(config_);
  EXPECT_FALSE(source.has(Split::kTest));
  EXPECT_NE(error_of([&] { source.stream(Split::kTest, {}); }).find("no test data"), std::string::npos);
  EXPECT_NE(error_of([&] { source.stream(Split::kValid, {.consumed_samples = 1000}); }).find("no samples left"),
            std::string::npos);
}

TEST_F(BatchSourceTest, LastValidationSliceMayBeKept) {
  config_.data.samples[1] = std::nullopt;
  const BatchSource source(config_);
  const int64_t size = source.size(Split::kValid);
  const auto stream = source.stream(Split::kValid, {.micro_batch_size = size - 1, .drop_last = false});
  EXPECT_EQ(stream->next()->batch, size - 1);
  EXPECT_EQ(stream->next()->batch, 1);
  EXPECT_FALSE(stream->next().has_value());
  EXPECT_EQ(stream->consumed_samples(), size);
}

}  // namespace
}  // namespace conclave
