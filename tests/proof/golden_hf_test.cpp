#include <gtest/gtest.h>

#include "proof/golden/golden.h"

namespace conclave::proof {
namespace {

TEST(GoldenHuggingFace, EveryFamilyGivesTransformersLogitsLossAndGradients) {
  const GoldenReport report = golden_hf(CONCLAVE_GOLDEN_DIR "/hf").front();
  for (const GoldenNote& note : report.failed) ADD_FAILURE() << note.name << ": " << note.text;
  for (const GoldenNote& note : report.not_built) EXPECT_EQ(note.name, "qwen3_next") << note.text;
  EXPECT_EQ(report.passed, 11);
}

}  // namespace
}  // namespace conclave::proof
