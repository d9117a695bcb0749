#include "convert/hf_tokenizer.h"

#include "base/file.h"

namespace conclave {
namespace {

constexpr const char* kSideFiles[] = {
    "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json",      "vocab.json",     "merges.txt",      "chat_template.jinja",   "chat_template.json"};

}  // namespace

std::vector<std::string> side_files(const std::string& directory) {
  std::vector<std::string> out;
  for (const char* name : kSideFiles) {
    if (file_exists(directory + "/" + name)) out.emplace_back(name);
  }
  return out;
}

void copy_side_files(const std::string& from, const std::string& to) {
  for (const std::string& name : side_files(from)) write_file_atomically(to + "/" + name, read_file(from + "/" + name));
}

std::vector<std::pair<std::string, Json>> hugging_face_tokenizer_options(const std::string& directory) {
  if (file_exists(directory + "/tokenizer.json"))
    return {{"tokenizer-type", "HuggingFaceTokenizer"}, {"tokenizer-model", directory}};
  if (file_exists(directory + "/tokenizer.model"))
    return {{"tokenizer-type", "Llama2Tokenizer"}, {"tokenizer-model", directory + "/tokenizer.model"}};
  return {};
}

}  // namespace conclave
