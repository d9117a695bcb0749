// What was exported, opened by Transformers itself: no missing or unexpected weights, no warning, the same logits.
#include <gtest/gtest.h>

#include <cstdlib>

#include "comm/communicator.h"
#include "convert/hf_checkpoint.h"
#include "convert/hf_export.h"
#include "convert/hf_files.h"

namespace conclave {
namespace {

std::string python() {
  const char* given = std::getenv("CONCLAVE_PYTHON");
  return given != nullptr ? given : "python3";
}

bool has_transformers() {
  const std::string command = fmt::format("{} -c 'import torch, transformers, safetensors' > /dev/null 2>&1", python());
  return std::system(command.c_str()) == 0;
}

TEST(Transformers, OpensEveryExportAndGivesTheSameLogits) {
  if (!has_transformers())
    GTEST_SKIP() << "no Transformers in " << python() << " (CONCLAVE_PYTHON names another interpreter)";
  const ScratchFolder folder;
  const auto device = make_device("cpu");
  const auto world = make_self_communicator("world");
  std::string pairs;
  for (const char* model : {"deepseek_v2_groups", "deepseek_v2_lite", "deepseek_v3", "llama", "mistral", "mixtral",
                            "qwen2", "qwen2_moe_mlp_only", "qwen2_moe_step2", "qwen3", "qwen3_moe"}) {
    const std::string checkpoint = folder / (std::string(model) + "_checkpoint");
    import_hugging_face(HuggingFaceWeights(golden_model(model)), checkpoint, *world, device->default_stream());
    const CheckpointReader reader(find_checkpoint(checkpoint)->directory);
    export_hugging_face(reader, {.output = folder / model});
    export_hugging_face(reader, {.output = folder / (std::string(model) + "_fused"), .form = ExpertForm::kFused});
    for (const char* form : {"", "_fused"})
      pairs += fmt::format(" {}/{}{}={}", folder.path(), model, form, golden_model(model));
  }
  const std::string log = folder / "log";
  const std::string command = fmt::format("{} {}/tests/convert/open_with_transformers.py{} > {} 2>&1", python(),
                                          CONCLAVE_SOURCE_DIR, pairs, log);
  const int code = std::system(command.c_str());
  EXPECT_EQ(code, 0) << read_file(log);
}

}  // namespace
}  // namespace conclave
