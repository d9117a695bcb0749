// Which tokens end and begin a document: tokenizer.json does not say, the files beside it do.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace conclave::hugging_face {

struct SpecialTokens {
  std::optional<int32_t> eos, bos, pad;
};

/// Reads tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json of `folder` ("": none),
/// as far as they are there; the earlier one wins. `find` gives the id of a token's text. Without any eos the usual
/// names are tried
/// ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eot_id|>", "<|im_end|>"). Throws UserError if a file is
/// damaged or names an unknown token.
SpecialTokens read_special_tokens(const std::string& folder,
                                  const std::function<std::optional<int32_t>(const std::string&)>& find,
                                  int64_t vocab_size);

}  // namespace conclave::hugging_face
