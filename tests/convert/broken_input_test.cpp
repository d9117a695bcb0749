// Directories that are broken in every way that was thought of: each has its message, and nothing is left half-written.
#include <gtest/gtest.h>

#include <cstring>

#include "comm/communicator.h"
#include "convert/hf_checkpoint.h"
#include "convert/hf_export.h"
#include "convert/hf_files.h"

namespace conclave {
namespace {

using Change = std::function<void(const std::string& directory)>;

struct BrokenCase {
  std::string name;
  std::string model;
  Change change;
  std::string text;  ///< must be part of the message
};

Change config(const std::function<void(Json&)>& change) {
  return [change](const std::string& directory) {
    Json json = Json::parse(read_file(directory + "/config.json"), "config");
    change(json);
    write_file_atomically(directory + "/config.json", json.dump());
  };
}
Change set(const char* key, Json value) {
  return config([key, value = std::move(value)](Json& json) { json[key] = value; });
}
Change without(const char* key) {
  return config([key](Json& json) {
    Json kept = Json::object();
    for (const auto& [name, value] : json.as_object()) {
      if (name != key) kept[name] = value;
    }
    json = kept;
  });
}
Change tensors(const std::function<void(TestTensors&)>& change) {
  return [change](const std::string& directory) {
    TestTensors all = read_tensors(directory);
    change(all);
    write_tensors(directory + "/model.safetensors", all);
  };
}
// The header's JSON text and the data after it, changed as bytes.
Change bytes(const std::function<void(std::string&)>& change) {
  return [change](const std::string& directory) {
    std::string file = read_file(directory + "/model.safetensors");
    change(file);
    write_file_atomically(directory + "/model.safetensors", file);
  };
}
Change header_length(uint64_t length) {
  return bytes([length](std::string& file) { std::memcpy(file.data(), &length, 8); });
}
Change replace(const std::string& from, const std::string& to) {
  return bytes([from, to](std::string& file) {
    const size_t at = file.find(from);
    ASSERT_NE(at, std::string::npos);
    ASSERT_EQ(from.size(), to.size());
    file.replace(at, from.size(), to);
  });
}
Change index(const std::function<void(Json&)>& change) {
  return [change](const std::string& directory) {
    const std::string path = directory + "/model.safetensors.index.json";
    Json json = Json::parse(read_file(path), "index");
    change(json);
    write_file_atomically(path, json.dump());
  };
}
Change remove(const char* name) {
  return [name](const std::string& directory) { fs::remove(directory + "/" + name); };
}

std::vector<BrokenCase> cases() {
  const char* two = "deepseek_v2_groups";  // two files and an index
  const Json yarn = Json::parse(R"({"type": "dynamic", "factor": 2})", "rope");
  return {
      {"no_config", "llama", remove("config.json"), "has no config.json"},
      {"no_weights", "llama", remove("model.safetensors"), "has neither model.safetensors nor"},
      {"config_no_json", "llama", [](const std::string& d) { write_file_atomically(d + "/config.json", "{\"a\": "); },
       "config.json: not valid JSON"},
      {"config_a_list", "llama", [](const std::string& d) { write_file_atomically(d + "/config.json", "[1]"); },
       "a model's configuration is a JSON object"},
      {"no_type", "llama", without("model_type"), "\"model_type\" is missing"},
      {"unknown_type", "llama", set("model_type", "gpt2"), "models of type \"gpt2\" are not available"},
      {"unknown_key", "llama", set("logit_softcap", 30.0), "\"logit_softcap\": 30.0 is not known"},
      {"missing_key", "mixtral", without("num_local_experts"), "\"num_local_experts\" is missing"},
      {"negative_size", "llama", set("hidden_size", -32), "\"hidden_size\" must be a whole number from 0"},
      {"absurd_size", "llama", set("hidden_size", 1e15), "\"hidden_size\" must be a whole number from 0 to 1e12"},
      {"text_for_size", "llama", set("num_hidden_layers", "two"), "\"num_hidden_layers\" must be a whole number"},
      {"other_activation", "llama", set("hidden_act", "gelu"), "\"hidden_act\" must be \"silu\"; got \"gelu\""},
      {"heads_do_not_divide", "llama", set("num_key_value_heads", 3), "\"num_key_value_heads\" must divide"},
      {"unknown_rotation", "llama", set("rope_scaling", yarn), "rotation \"dynamic\" in \"rope_scaling\""},
      {"normalised_v2", "deepseek_v2_lite", set("norm_topk_prob", true), "Transformers ignores it"},
      {"config_contradicts_tensors", "llama", set("intermediate_size", 64),
       "'model.layers.0.mlp.gate_proj.weight' is [48, 32], by config.json it must be [64, 32]"},
      {"more_layers", "llama", set("num_hidden_layers", 3), "'model.layers.2.input_layernorm.weight' [32] is missing"},
      {"fewer_layers", "llama", set("num_hidden_layers", 1), "has no place in the model"},
      {"missing_tensor", "qwen3", tensors([](TestTensors& t) { t.erase("model.layers.1.self_attn.q_norm.weight"); }),
       "'model.layers.1.self_attn.q_norm.weight' [16] is missing"},
      {"further_tensor", "qwen3",
       tensors([](TestTensors& t) { t["model.layers.0.extra"] = t.at("model.norm.weight"); }),
       "'model.layers.0.extra' [32] has no place in the model"},
      {"integer_tensor", "llama", tensors([](TestTensors& t) { t["model.norm.weight"].dtype = DType::kI32; }),
       "'model.norm.weight' holds i32; a weight is a floating number"},
      {"wrong_shape", "llama", tensors([](TestTensors& t) {
         t["model.norm.weight"].shape = {2, 16};
       }),
       "'model.norm.weight' is [2, 16], by config.json it must be [32]"},
      {"tied_differs", "llama", tensors([](TestTensors& t) {
         t["lm_head.weight"] = t.at("model.embed_tokens.weight");
         t["lm_head.weight"].bytes[100] ^= 1;
       }),
       "'lm_head.weight' in"},
      {"fp8_without_scale", "llama", tensors([](TestTensors& t) {
         TestTensor& w = t["model.layers.0.mlp.gate_proj.weight"];
         w = {DType::kF8E4M3, w.shape, std::string(w.bytes.size() / 4, '\1')};
       }),
       "is f8e4m3 and has no 'model.layers.0.mlp.gate_proj.weight_scale_inv'"},
      {"quantised_otherwise", "llama", set("quantization_config", Json::parse(R"({"quant_method": "gptq"})", "q")),
       "only weights in FP8 with block scales"},
      {"empty_file", "llama", bytes([](std::string& f) { f.clear(); }), "less than the 8 of the header length"},
      {"cut_header", "llama", bytes([](std::string& f) { f.resize(100); }), "it may be cut short"},
      {"cut_data", "llama", bytes([](std::string& f) { f.resize(f.size() - 100); }), "model.safetensors"},
      {"header_of_10_gb", "llama", header_length(uint64_t{10} << 30), "its header claims"},
      {"header_of_everything", "llama", header_length(~uint64_t{0}), "its header claims"},
      {"data_after_the_end", "llama", bytes([](std::string& f) { f += "more"; }), "belong to no tensor"},
      {"overlap", "llama", replace("\"data_offsets\":[0,", "\"data_offsets\":[4,"), "model.safetensors"},
      {"wrong_dtype_word", "llama", replace("\"F32\"", "\"F99\""), "model.safetensors"},
      {"missing_shard", two, remove("model-00002-of-00002.safetensors"),
       "file 'model-00002-of-00002.safetensors' is missing"},
      {"escaping_path", two, index([](Json& j) { j["weight_map"]["model.norm.weight"] = "../../etc/passwd"; }),
       "only files beside the index are read"},
      {"absolute_path", two, index([](Json& j) { j["weight_map"]["model.norm.weight"] = "/etc/passwd"; }),
       "only files beside the index are read"},
      {"index_names_more", two,
       index([](Json& j) { j["weight_map"]["model.extra"] = "model-00001-of-00002.safetensors"; }),
       "tensor 'model.extra' is not in 'model-00001-of-00002.safetensors'"},
      {"index_names_less", two, index([](Json& j) {
         Json kept = Json::object();
         for (const auto& [name, file] : j.at("weight_map").as_object()) {
           if (name != "model.norm.weight") kept[name] = file;
         }
         j["weight_map"] = kept;
       }),
       "'model.norm.weight' in 'model-0000"},
      {"index_without_map", two, index([](Json& j) { j = Json::object(); }), "\"weight_map\" is missing"},
      {"index_no_json", two,
       [](const std::string& d) { write_file_atomically(d + "/model.safetensors.index.json", "{{"); }, "index.json"},
      {"link_to_itself", "llama",
       [](const std::string& d) {
         fs::remove(d + "/model.safetensors");
         fs::create_symlink(d + "/model.safetensors", d + "/model.safetensors");
       },
       "has neither model.safetensors nor"},
  };
}

class BrokenInput : public ::testing::TestWithParam<BrokenCase> {};

TEST_P(BrokenInput, IsRefusedWithItsMessage) {
  const ScratchFolder folder;
  const std::string source = folder / "hf", target = folder / "out";
  fs::copy(golden_model(GetParam().model), source, fs::copy_options::recursive);
  GetParam().change(source);
  const std::string text = error_of([&] {
    const auto device = make_device("cpu");
    const auto world = make_self_communicator("world");
    import_hugging_face(HuggingFaceWeights(source), target, *world, device->default_stream());
  });
  EXPECT_NE(text.find(GetParam().text), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(target));
}

INSTANTIATE_TEST_SUITE_P(Cases, BrokenInput, ::testing::ValuesIn(cases()),
                         [](const auto& tested) { return tested.param.name; });

TEST(BrokenInput, AllFaultsAreToldAtOnce) {
  const ScratchFolder folder;
  make_model("qwen3", folder / "hf", nullptr, [](TestTensors& t) {
    t.erase("model.norm.weight");
    t["extra"] = {DType::kF32, {1}, "abcd"};
    t["model.layers.0.input_layernorm.weight"].shape = {4, 8};
  });
  const std::string text = error_of([&] { HuggingFaceWeights weights(folder / "hf"); });
  for (const char* part : {"3 faults", "'model.norm.weight' [32] is missing", "'extra' [1] has no place",
                           "'model.layers.0.input_layernorm.weight' is [4, 8]"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  const std::string keys = error_of([&] {
    make_model(
        "qwen3", folder / "keys",
        [](Json& json) {
          json["a_new_key"] = 1;
          json["hidden_act"] = "relu";
          json["another"] = true;
        },
        nullptr);
    HuggingFaceWeights weights(folder / "keys");
  });
  for (const char* part : {"a_new_key", "another", "hidden_act"}) EXPECT_NE(keys.find(part), std::string::npos) << keys;
}

TEST(BrokenOutput, ATargetThatIsTakenIsLeftAlone) {
  const ScratchFolder folder;
  const auto device = make_device("cpu");
  const auto world = make_self_communicator("world");
  fs::create_directories(folder / "taken");
  write_file_atomically(folder / "taken/file", "mine");
  const HuggingFaceWeights weights(golden_model("llama"));
  const auto import_into = [&](const std::string& to) {
    return error_of([&] { import_hugging_face(weights, to, *world, device->default_stream()); });
  };
  EXPECT_NE(import_into(folder / "taken").find("is there and not empty"), std::string::npos);
  EXPECT_NE(import_into(folder / "taken/file").find("is a file"), std::string::npos);
  EXPECT_EQ(import_into(folder / "checkpoint"), "no error");
  const CheckpointReader reader(find_checkpoint(folder / "checkpoint")->directory);
  EXPECT_NE(error_of([&] { export_hugging_face(reader, {.output = folder / "taken"}); }).find("not empty"),
            std::string::npos);
  EXPECT_EQ(read_file(folder / "taken/file"), "mine");
  // A model that the asked-for type cannot express leaves nothing behind.
  const std::string text =
      error_of([&] { export_hugging_face(reader, {.output = folder / "other", .model_type = "qwen2"}); });
  EXPECT_NE(text.find("a model of type qwen2 cannot be as this one is"), std::string::npos) << text;
  for (const auto& entry : fs::directory_iterator(folder.path()))
    EXPECT_TRUE(entry.path().filename() == "taken" || entry.path().filename() == "checkpoint") << entry.path();
}

}  // namespace
}  // namespace conclave
