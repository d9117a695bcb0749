#include <gtest/gtest.h>

#include "proof/golden/golden.h"

namespace conclave::proof {
namespace {

TEST(GoldenModel, EveryCasePasses) {
  const GoldenReport report = golden_model(CONCLAVE_GOLDEN_DIR "/model").front();
  for (const GoldenNote& note : report.failed) ADD_FAILURE() << note.name << ": " << note.text;
  for (const GoldenNote& note : report.not_built) ADD_FAILURE() << note.name << ": " << note.text;
  EXPECT_EQ(report.passed, 14);
}

}  // namespace
}  // namespace conclave::proof
