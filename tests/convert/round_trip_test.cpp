// Import and export: every tensor of every family comes back bit for bit, in every form.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "comm/communicator.h"
#include "convert/elements.h"
#include "convert/hf_checkpoint.h"
#include "convert/hf_export.h"
#include "convert/hf_files.h"

namespace conclave {
namespace {

const std::vector<std::string>& models() {
  static const std::vector<std::string> names = {
      "deepseek_v2_groups", "deepseek_v2_lite", "deepseek_v3", "llama",    "mistral", "mixtral", "qwen2",
      "qwen2_moe_mlp_only", "qwen2_moe_step2",  "qwen3",       "qwen3_moe"};
  return names;
}

void import_to(const std::string& from, const std::string& to) {
  const auto device = make_device("cpu");
  const auto world = make_self_communicator("world");
  import_hugging_face(HuggingFaceWeights(from), to, *world, device->default_stream());
}

ExportReport export_to(const std::string& from, ExportRequest request) {
  return export_hugging_face(CheckpointReader(find_checkpoint(from)->directory), request);
}

void expect_same(const TestTensors& want, const TestTensors& got) {
  EXPECT_EQ(want.size(), got.size());
  for (const auto& [name, tensor] : want) {
    const auto found = got.find(name);
    ASSERT_NE(found, got.end()) << name;
    EXPECT_EQ(tensor.dtype, found->second.dtype) << name;
    EXPECT_EQ(tensor.shape, found->second.shape) << name;
    EXPECT_EQ(tensor.bytes, found->second.bytes) << name;
  }
}

class RoundTrip : public ::testing::TestWithParam<std::string> {};

TEST_P(RoundTrip, IsBitIdenticalWhateverTheShards) {
  const ScratchFolder folder;
  const std::string source = golden_model(GetParam());
  import_to(source, folder / "checkpoint");
  for (const int64_t shard : {int64_t{1} << 40, int64_t{20000}}) {
    const std::string out = folder / fmt::format("hf_{}", shard);
    const ExportReport report = export_to(folder / "checkpoint", {.output = out, .max_shard_size = shard});
    expect_same(read_tensors(source), read_tensors(out));
    EXPECT_EQ(read_file(source + "/config.json"), read_file(out + "/config.json"));
    EXPECT_EQ(report.files > 1, shard == 20000);
    EXPECT_TRUE(file_exists(out + "/generation_config.json"));
  }
}

TEST_P(RoundTrip, FusedExpertsHoldTheSameSlices) {
  const ScratchFolder folder;
  import_to(golden_model(GetParam()), folder / "checkpoint");
  export_to(folder / "checkpoint", {.output = folder / "fused", .form = ExpertForm::kFused});
  // A fused directory is read as well, and goes back to the separate form bit for bit.
  import_to(folder / "fused", folder / "again");
  export_to(folder / "again", {.output = folder / "separate"});
  expect_same(read_tensors(golden_model(GetParam())), read_tensors(folder / "separate"));
}

TEST_P(RoundTrip, AConfigurationOfOurOwnSaysTheSame) {
  const ScratchFolder folder;
  const HuggingFaceWeights weights(golden_model(GetParam()));
  const Options options = options_of_model(weights.options());
  const Json config = write_hugging_face_config(options, weights.spec().vocab, weights.family(), "float32");
  write_file_atomically(folder / "config.json", config.dump());
  for (const auto& [name, tensor] : read_tensors(golden_model(GetParam()))) EXPECT_FALSE(name.empty());
  write_tensors(folder / "model.safetensors", read_tensors(golden_model(GetParam())));
  const HuggingFaceWeights again(folder.path());
  EXPECT_EQ(again.places().size(), weights.places().size());
}

INSTANTIATE_TEST_SUITE_P(Families, RoundTrip, ::testing::ValuesIn(models()),
                         [](const auto& tested) { return tested.param; });

TEST(Import, KeepsEachTensorsDtype) {
  const ScratchFolder folder;
  const auto narrow = [](TestTensors& tensors) {
    int which = 0;
    for (auto& [name, tensor] : tensors) {
      if (++which % 3 == 0) continue;  // f32 beside f16 and bf16
      const DType dtype = which % 3 == 1 ? DType::kBF16 : DType::kF16;
      std::string out(tensor.bytes.size() / 2, '\0');
      convert_elements(tensor.dtype, std::as_bytes(std::span(tensor.bytes)), dtype,
                       std::as_writable_bytes(std::span(out)));
      tensor = {dtype, tensor.shape, out};
    }
  };
  for (const char* model : {"qwen2_moe_step2", "deepseek_v3"}) {
    const std::string source = folder / model;
    make_model(model, source, nullptr, narrow);
    import_to(source, source + "_checkpoint");
    export_to(source + "_checkpoint", {.output = source + "_out"});
    expect_same(read_tensors(source), read_tensors(source + "_out"));
  }
}

TEST(Import, ATiedTableThatIsStoredTwiceStaysSo) {
  const ScratchFolder folder;
  make_model("llama", folder / "twice", nullptr,
             [](TestTensors& tensors) { tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight"); });
  import_to(folder / "twice", folder / "checkpoint");
  export_to(folder / "checkpoint", {.output = folder / "out"});
  expect_same(read_tensors(folder / "twice"), read_tensors(folder / "out"));
}

TEST(Import, PredictionDepthsGoInAndOut) {
  const ScratchFolder folder;
  const auto with_depth = [](TestTensors& tensors) {
    TestTensors more;
    for (const auto& [name, tensor] : tensors) {
      if (name.starts_with("model.layers.1."))
        more["model.layers.2." + name.substr(std::string("model.layers.1.").size())] = tensor;
    }
    const TestTensor norm = tensors.at("model.norm.weight");
    for (const char* name : {"enorm.weight", "hnorm.weight", "shared_head.norm.weight"})
      more[std::string("model.layers.2.") + name] = norm;
    more["model.layers.2.embed_tokens.weight"] = tensors.at("model.embed_tokens.weight");
    more["model.layers.2.shared_head.head.weight"] = tensors.at("lm_head.weight");
    TestTensor join = tensors.at("model.embed_tokens.weight");
    join.shape = {32, 64};
    join.bytes.resize(32 * 64 * 4);
    more["model.layers.2.eh_proj.weight"] = join;
    tensors.insert(more.begin(), more.end());
  };
  make_model(
      "deepseek_v3", folder / "hf", [](Json& config) { config["num_nextn_predict_layers"] = 1; }, with_depth);
  EXPECT_EQ(HuggingFaceWeights(folder / "hf").spec().predictions.size(), 1u);
  import_to(folder / "hf", folder / "checkpoint");
  export_to(folder / "checkpoint", {.output = folder / "out"});
  expect_same(read_tensors(folder / "hf"), read_tensors(folder / "out"));
}

// FP8 with a scale for each block of 16 x 16: dequantised to what the configuration calls its dtype.
TEST(Import, BlockScalesAreMultipliedIn) {
  const ScratchFolder folder;
  const std::string name = "model.layers.0.mlp.gate_proj.weight";  // [48, 32]
  make_model(
      "llama", folder / "hf",
      [](Json& config) {
        Json quantization = Json::object();
        quantization["quant_method"] = "fp8";
        quantization["weight_block_size"] = Json(Json::Array{Json(16), Json(16)});
        config["quantization_config"] = quantization;
      },
      [&](TestTensors& tensors) {
        TestTensor weight{DType::kF8E4M3, {48, 32}, std::string(48 * 32, '\0')};
        for (size_t i = 0; i < weight.bytes.size(); ++i) weight.bytes[i] = static_cast<char>(i % 120);
        TestTensor scale{DType::kF32, {3, 2}, std::string(24, '\0')};
        for (size_t i = 0; i < 6; ++i) {
          const float value = 0.5f + static_cast<float>(i);
          std::memcpy(scale.bytes.data() + 4 * i, &value, 4);
        }
        tensors[name] = weight;
        tensors[name + "_scale_inv"] = scale;
      });
  const HuggingFaceWeights weights(folder / "hf");
  std::vector<float> values(48 * 32);
  weights.read("decoder.layers.0.mlp.linear_fc1.weight", 0, DType::kF32, std::as_writable_bytes(std::span(values)));
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t block = i / 32 / 16 * 2 + i % 32 / 16;
    EXPECT_EQ(values[i], f8e4m3_to_float(static_cast<uint8_t>(i % 120)) * (0.5f + static_cast<float>(block))) << i;
  }
  EXPECT_EQ(f8e4m3_to_float(0x7e), 448.0f);
  EXPECT_EQ(f8e4m3_to_float(0x01), 0x1p-9f);
  EXPECT_EQ(f8e5m2_to_float(0x7b), 57344.0f);
}

TEST(Elements, NonFiniteValuesAreCountedInEveryDtype) {
  std::vector<float> values(10000, 1.5f);
  values[3] = values[9999] = std::numeric_limits<float>::infinity();
  values[5000] = std::numeric_limits<float>::quiet_NaN();
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kBF16, DType::kF16}) {
    std::vector<std::byte> out(values.size() * static_cast<size_t>(dtype_size(dtype)));
    convert_elements(DType::kF32, std::as_bytes(std::span(values)), dtype, out);
    EXPECT_EQ(count_non_finite(dtype, out), 3) << dtype_name(dtype);
  }
  const std::vector<std::byte> small = {std::byte{0x7f}, std::byte{0x7e}, std::byte{0xff}, std::byte{0}};
  EXPECT_EQ(count_non_finite(DType::kF8E4M3, small), 2);
}

// Ranges and boxes of any kind are what the whole tensor holds there.
TEST(Import, BoxesAreReadAlone) {
  const HuggingFaceWeights weights(golden_model("mixtral"));
  for (const OwnTensor& tensor : weights.tensors()) {
    const ShardSpec whole = ShardSpec::whole(tensor.shape);
    std::vector<float> all(static_cast<size_t>(whole.element_count()));
    weights.read(tensor.name, whole, DType::kF32, std::as_writable_bytes(std::span(all)));
    ShardSpec part{tensor.shape, {}};
    for (const int64_t half : {1, 0}) {
      Box box{std::vector<int64_t>(tensor.shape.size(), 0), tensor.shape};
      const size_t axis = tensor.shape.size() - 1;
      box.size[axis] = tensor.shape[axis] / 2;
      box.begin[axis] = half * box.size[axis];
      part.boxes.push_back(box);
    }
    std::vector<float> got(static_cast<size_t>(part.element_count()));
    weights.read(tensor.name, part, DType::kF32, std::as_writable_bytes(std::span(got)));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(got[i], all[static_cast<size_t>(part.global_index(static_cast<int64_t>(i)))]) << tensor.name << i;
  }
}

}  // namespace
}  // namespace conclave
