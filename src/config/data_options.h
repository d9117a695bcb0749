// Data sets, tokenizers, preprocessing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

struct DataOptions {
  std::vector<std::string> data_path;  ///< prefixes, or weight prefix weight prefix ...
  std::vector<std::string> train_data_path;
  std::vector<std::string> valid_data_path;
  std::vector<std::string> test_data_path;
  std::optional<std::string> data_args_path;            ///< a file that holds the words of data_path
  std::optional<std::string> per_split_data_args_path;  ///< a JSON file {"train": [...], "valid": [...], "test": [...]}
  std::optional<std::string> split;                     ///< "969,30,1" is the default of data_path
  bool mock_data = false;
  std::optional<std::string> data_cache_path;
  double mid_level_dataset_surplus = 0.005;
  std::string dataloader_type = "single";  ///< single, cyclic
  bool reset_position_ids = false;
  bool reset_attention_mask = false;
  bool dataloader_inter_document_masking = false;
  bool eod_mask_loss = false;
  bool create_attention_mask_in_dataloader = true;
  int64_t num_workers = 2;
  bool mmap_bin_files = true;
};

struct TokenizerOptions {
  std::optional<std::string>
      tokenizer_type;  ///< HuggingFaceTokenizer, SentencePieceTokenizer, Llama2Tokenizer, NullTokenizer, ByteTokenizer
  std::optional<std::string> tokenizer_model;  ///< file or folder
  std::optional<std::string> vocab_file;       ///< GPT2BPETokenizer: vocab.json
  std::optional<std::string> merge_file;       ///< GPT2BPETokenizer: merges.txt
  std::optional<int64_t> null_tokenizer_eod_id;
  int64_t null_tokenizer_pad_id = -1;
  bool tokenizer_hf_no_include_special_tokens = false;
  int64_t vocab_extra_ids = 0;
};

/// `conclave preprocess`.
struct PreprocessOptions {
  std::vector<std::string> input;  ///< text, JSONL, .gz, .zst
  std::optional<std::string> output_prefix;
  std::vector<std::string> json_keys = {"text"};
  bool append_eod = false;
  int64_t workers = 0;  ///< threads; 0: as many as cores
  bool skip_bad_lines = false;
  std::string text_documents = "paragraph";  ///< paragraph, line, file
  bool add_special_tokens = false;           ///< those of the tokenizer's own template around each text
};

}  // namespace conclave
