#include "base/error.h"
#include "base/text.h"
#include "data/tokenizer/byte_tokenizer.h"
#include "data/tokenizer/hugging_face/hugging_face_tokenizer.h"
#include "data/tokenizer/null_tokenizer.h"
#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.h"
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/unsupported.h"

namespace conclave {
namespace {

struct TokenizerType {
  const char* name;
  std::unique_ptr<Tokenizer> (*make)(const TokenizerConfig&);  ///< nullptr: known, but not available
  const char* advice;                                          ///< what to do where it is not available
};

std::unique_ptr<Tokenizer> make_byte(const TokenizerConfig&) { return std::make_unique<ByteTokenizer>(); }

std::unique_ptr<Tokenizer> make_null(const TokenizerConfig& config) {
  CONCLAVE_USER_CHECK(config.vocab_size.has_value(),
                      "[data/tokenizer] NullTokenizer does not know how many ids there are; give --vocab-size");
  return std::make_unique<NullTokenizer>(*config.vocab_size, config.null_tokenizer_eod_id,
                                         config.null_tokenizer_pad_id);
}

void need_model(const TokenizerConfig& config, const char* what) {
  CONCLAVE_USER_CHECK(!config.model.empty(), "[data/tokenizer] {} needs --tokenizer-model: {}", config.type, what);
}

std::unique_ptr<Tokenizer> make_hugging_face(const TokenizerConfig& config) {
  need_model(config, "a tokenizer.json or the folder that holds one");
  return HuggingFaceTokenizer::load(config.model);
}

std::unique_ptr<Tokenizer> make_gpt2(const TokenizerConfig& config) {
  CONCLAVE_USER_CHECK(
      !config.vocab_file.empty() && !config.merge_file.empty(),
      "[data/tokenizer] GPT2BPETokenizer needs --vocab-file (vocab.json) and --merge-file (merges.txt)");
  return HuggingFaceTokenizer::load_gpt2(config.vocab_file, config.merge_file);
}

std::unique_ptr<Tokenizer> make_sentencepiece(const TokenizerConfig& config) {
  using Special = SentencePieceTokenizer::Special;
  need_model(config, "a SentencePiece model (.model)");
  const Special special = config.type == "Llama2Tokenizer" ? Special::kBos : Special::kNone;
  return SentencePieceTokenizer::load(config.model, config.type, special);
}

constexpr const char* kUseHuggingFace =
    "save it as a tokenizer.json (Hugging Face tokenizers) and use HuggingFaceTokenizer with --tokenizer-model";
constexpr const char* kTextOnly = "only text models are trained here; use HuggingFaceTokenizer for their text part";

constexpr TokenizerType kTypes[] = {
    {"ByteTokenizer", make_byte, ""},
    {"NullTokenizer", make_null, ""},
    {"HuggingFaceTokenizer", make_hugging_face, ""},
    {"GPT2BPETokenizer", make_gpt2, ""},
    {"SentencePieceTokenizer", make_sentencepiece, ""},
    {"GPTSentencePieceTokenizer", make_sentencepiece, ""},
    {"Llama2Tokenizer", make_sentencepiece, ""},
    {"TikTokenizer", nullptr, kUseHuggingFace},
    {"BertWordPieceLowerCase", nullptr,
     "WordPiece is for masked language models; use HuggingFaceTokenizer with a BPE file"},
    {"BertWordPieceCase", nullptr, "WordPiece is for masked language models; use HuggingFaceTokenizer with a BPE file"},
    {"MultimodalTokenizer", nullptr, kTextOnly},
    {"NullMultimodalTokenizer", nullptr, "only text models are trained here; use NullTokenizer"},
    {"SFTTokenizer", nullptr, "render the conversations to text first and use HuggingFaceTokenizer"},
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerConfig& config) {
  std::vector<std::string> available;
  for (const TokenizerType& type : kTypes) {
    if (type.make != nullptr) available.emplace_back(type.name);
  }
  const std::string list = join(available, ", ");
  CONCLAVE_USER_CHECK(!config.type.empty(), "[data/tokenizer] --tokenizer-type is missing; choose one of {}", list);
  for (const TokenizerType& type : kTypes) {
    if (config.type != type.name) continue;
    if (type.make != nullptr) return type.make(config);
    throw UnsupportedTokenizer(
        fmt::format("[data/tokenizer] --tokenizer-type {} is not available yet: {}", type.name, type.advice));
  }
  const std::vector<std::string> near = nearest_names(config.type, available, 1);
  throw_user(fmt::format("[data/tokenizer] unknown --tokenizer-type '{}'; {}choose one of {}", config.type,
                         near.empty() ? "" : fmt::format("did you mean {}? ", near[0]), list));
}

}  // namespace conclave
