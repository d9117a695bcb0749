#include <gtest/gtest.h>

#include "proof/golden/golden.h"

namespace conclave::proof {
namespace {

TEST(GoldenTokenizer, EveryCasePasses) {
  const std::vector<GoldenReport> reports = golden_tokenizer(CONCLAVE_GOLDEN_DIR "/tokenizer");
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(reports[0].label, "tokenizer");
  EXPECT_EQ(reports[0].passed, 5);
  for (const GoldenNote& note : reports[0].failed) ADD_FAILURE() << note.name << ": " << note.text;
  for (const GoldenNote& note : reports[0].not_built) ADD_FAILURE() << note.name << " not built: " << note.text;
}

}  // namespace
}  // namespace conclave::proof
