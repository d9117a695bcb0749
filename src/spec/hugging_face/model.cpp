#include "spec/hugging_face/model.h"

#include "base/error.h"
#include "base/text.h"
#include "config/parse.h"
#include "config/resolve.h"
#include "spec/architecture.h"

namespace conclave {
namespace {

std::string known_types() {
  std::vector<std::string> names;
  for (const Family* family : families()) names.push_back(family->model_type);
  return join(names, ", ");
}

// No model is as large; products of these fit into 64 bits, and lists of layers and experts into memory.
void check_sizes(const Json& options, ConfigReader& reader) {
  constexpr std::pair<const char*, int64_t> kMost[] = {
      {"num-layers", 10'000},           {"hidden-size", 1'000'000},
      {"num-attention-heads", 100'000}, {"kv-channels", 100'000},
      {"ffn-hidden-size", 10'000'000},  {"moe-ffn-hidden-size", 10'000'000},
      {"vocab-size", 100'000'000},      {"num-experts", 65'536},
      {"q-lora-rank", 1'000'000},       {"kv-lora-rank", 1'000'000},
      {"qk-head-dim", 100'000},         {"qk-pos-emb-head-dim", 100'000},
      {"v-head-dim", 100'000},          {"moe-shared-expert-intermediate-size", 10'000'000},
      {"mtp-num-layers", 1'000},        {"max-position-embeddings", 1'000'000'000}};
  for (const auto& [key, most] : kMost) {
    const Json* value = options.find(key);
    if (value != nullptr && value->as_int() > most)
      reader.refuse("a model with {} {} is too large; at most {}", key, value->as_int(), most);
  }
  const Json *layers = options.find("num-layers"), *experts = options.find("num-experts");
  if (layers != nullptr && experts != nullptr && layers->as_int() * experts->as_int() > 2'000'000)
    reader.refuse("a model with {} layers of {} experts is too large", layers->as_int(), experts->as_int());
}

// What keeps the family from expressing the model; `config` is filled in any case.
std::vector<std::string> misfits(const Options& options, int64_t vocab, const Family& family, Json* config) {
  Options whole = options;
  whole.model.vocab_size = vocab;
  Json written = Json::object();
  Json names = Json::array();
  names.push_back(family.architecture);
  written["architectures"] = std::move(names);
  written["model_type"] = family.model_type;
  family.write(whole, written);
  *config = written;
  try {
    const HuggingFaceModel read = read_hugging_face_config(written, "the configuration");
    const Options back = resolved(options_from_json(read.options, "the configuration").options);
    return architecture_difference(make_model_spec(back, vocab), make_model_spec(whole, vocab));
  } catch (const UserError& error) {
    return {error.what()};
  }
}

}  // namespace

const std::vector<const Family*>& families() {
  static const std::vector<const Family*> all = {&kLlama,    &kMistral,  &kMixtral,    &kQwen2,     &kQwen3,
                                                 &kQwen2Moe, &kQwen3Moe, &kDeepseekV2, &kDeepseekV3};
  return all;
}

const Family* find_family(std::string_view model_type) {
  for (const Family* family : families()) {
    if (family->model_type == model_type) return family;
  }
  return nullptr;
}

HuggingFaceModel read_hugging_face_config(const Json& config, const std::string& what) {
  ConfigReader reader(config, what);
  const Json* type = config.find("model_type");
  CONCLAVE_USER_CHECK(type != nullptr && type->is_string(), "{}: \"model_type\" is missing; it must be one of {}", what,
                      known_types());
  HuggingFaceModel model;
  model.family = find_family(type->as_string());
  CONCLAVE_USER_CHECK(model.family != nullptr, "{}: models of type \"{}\" are not available; these are: {}", what,
                      type->as_string(), known_types());
  model.options = Json::object();
  model.family->read(reader, model.options);
  check_sizes(model.options, reader);
  reader.finish();
  model.warnings = reader.warnings();
  return model;
}

Json write_hugging_face_config(const Options& options, int64_t vocab, const Family& family, const std::string& dtype) {
  Json config;
  const std::vector<std::string> faults = misfits(options, vocab, family, &config);
  CONCLAVE_USER_CHECK(faults.empty(), "a model of type {} cannot be as this one is:\n  {}", family.model_type,
                      join(faults, "\n  "));
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  return config;
}

const Family& family_for(const Options& options, int64_t vocab) {
  const bool latent = options.attention.multi_latent_attention, moe = options.moe.num_experts > 0;
  const Family* likeliest = nullptr;
  std::vector<std::string> reasons;
  for (const Family* family : families()) {
    Json config;
    const std::vector<std::string> faults = misfits(options, vocab, *family, &config);
    if (faults.empty()) return *family;
    const bool same_kind = config.contains("kv_lora_rank") == latent && config.contains("num_experts_per_tok") == moe;
    if (same_kind && (likeliest == nullptr || faults.size() < reasons.size())) {
      likeliest = family;
      reasons = faults;
    }
  }
  throw UserError(fmt::format("no Hugging Face model is as this one is; in the way of the likeliest, {}:\n  {}",
                              likeliest != nullptr ? likeliest->model_type : "none", join(reasons, "\n  ")));
}

}  // namespace conclave
