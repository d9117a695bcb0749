#include "config/table/rows.h"

namespace conclave {
namespace {

void add_sources(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kData;
  CONCLAVE_OPTION(data, data_path, "Prefixes of .bin/.idx files, or WEIGHT PREFIX pairs.");
  CONCLAVE_OPTION(data, train_data_path, "The same for training alone.");
  CONCLAVE_OPTION(data, valid_data_path, "The same for validation alone.");
  CONCLAVE_OPTION(data, test_data_path, "The same for the test alone.");
  CONCLAVE_OPTION(data, data_args_path, "A file with the words of --data-path.");
  CONCLAVE_OPTION(data, per_split_data_args_path, "A JSON file with the words for train, valid and test.");
  CONCLAVE_OPTION(data, split, "Shares of training, validation and test. Default: 969,30,1.");
  CONCLAVE_OPTION(data, mock_data, "Made-up sequences instead of files.");
  CONCLAVE_OPTION(data, data_cache_path, "Folder of index caches. Default: beside the data.");
  CONCLAVE_OPTION(data, mid_level_dataset_surplus, "Spare samples of each set of a blend.").at_least(0);
  CONCLAVE_OPTION(data, dataloader_type, "Order of samples.").one_of({"single", "cyclic", "external"});
  CONCLAVE_OPTION(data, reset_position_ids, "Positions restart after each end of document.");
  CONCLAVE_OPTION(data, reset_attention_mask, "Attention does not cross an end of document.");
  CONCLAVE_OPTION(data, dataloader_inter_document_masking, "Documents are apart: both resets.");
  CONCLAVE_OPTION(data, eod_mask_loss, "No loss on end-of-document tokens.");
  CONCLAVE_OPTION(data, create_attention_mask_in_dataloader, "Masks are never built here.").not_active();
  CONCLAVE_OPTION(data, num_workers, "Loader processes elsewhere.").at_least(0).not_active();
  CONCLAVE_OPTION(data, mmap_bin_files, "Files are always mapped.").not_active();
}

void add_tokenizer_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kTokenizer;
  CONCLAVE_OPTION(tokenizer, tokenizer_type, "Kind of tokenizer.")
      .one_of({"HuggingFaceTokenizer", "SentencePieceTokenizer", "GPTSentencePieceTokenizer", "Llama2Tokenizer",
               "NullTokenizer", "ByteTokenizer", "TikTokenizer", "GPT2BPETokenizer", "BertWordPieceLowerCase",
               "BertWordPieceCase", "MultimodalTokenizer", "NullMultimodalTokenizer", "SFTTokenizer"})
      .shape();
  CONCLAVE_OPTION(tokenizer, tokenizer_model, "Its file or folder.").shape();
  CONCLAVE_OPTION(tokenizer, vocab_file, "GPT2BPETokenizer: its vocab.json.").shape();
  CONCLAVE_OPTION(tokenizer, merge_file, "GPT2BPETokenizer: its merges.txt.").shape();
  CONCLAVE_OPTION(tokenizer, null_tokenizer_eod_id, "NullTokenizer: the end-of-document id. Default: the last.")
      .shape();
  CONCLAVE_OPTION(tokenizer, null_tokenizer_pad_id, "NullTokenizer: the padding id; -1: none.").shape();
  CONCLAVE_OPTION(tokenizer, tokenizer_hf_no_include_special_tokens, "Generation: no special tokens around a prompt.");
  CONCLAVE_OPTION(tokenizer, vocab_extra_ids, "Further ids after the vocabulary.").at_least(0).shape();
  add_not_active_rows(rows, group,
                      {{"tokenizer-hf-no-use-fast", kFlag, "", "Choice of another implementation's tokenizer."},
                       {"trust-remote-code", kFlag, "", "No code is ever loaded with a tokenizer."},
                       {"use-tokenizer-model-from-checkpoint-args", kFlag, "true", "Where the file is looked for."},
                       {"tokenizer-metadata", kString, "", "A description of another implementation."}});
  add_unavailable_rows(
      rows, group, "further tokenizers",
      {{"tiktoken-num-special-tokens", kInt, "1000", "TikTokenizer: special tokens."},
       {"tiktoken-pattern", kString, "", "TikTokenizer: pattern."},
       {"tokenizer-sentencepiece-ignore-extra-whitespaces", kFlag, "true", "SentencePiece: blanks are merged."},
       {"tokenizer-sentencepiece-legacy", kFlag, "", "SentencePiece: older treatment of special tokens."},
       {"tokenizer-special-tokens", kStringList, "", "Further special tokens."}});
}

}  // namespace

void add_data_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kData;
  add_sources(rows);
  add_not_active_rows(rows, group,
                      {{"allow-ambiguous-pad-tokens", kFlag, "", "A check of another implementation."},
                       {"data-sharding", kFlag, "true", "Order inside the cyclic loader elsewhere."},
                       {"dataloader-defer-npy-index-mmap", kFlag, "", "When index caches are opened."},
                       {"dataloader-fast-cache-load", kFlag, "", "How index caches are opened."},
                       {"num-dataset-builder-threads", kInt, "1", "Threads that build indices."},
                       {"object-storage-cache-path", kString, "", "Local copies of remote files."},
                       {"disable-msc", kFlag, "", "A storage client."},
                       {"offset-sampling-seed-by-dp-rank", kFlag, "true", "Seeds do not depend on ranks.",
                        "use-same-sampling-seed-across-dp-ranks"}});
  add_unavailable_rows(rows, group, "remote storage",
                       {{"enable-msc", kFlag, "", "Read data through a storage client."}});
  add_unavailable_rows(rows, group, "further kinds of data sets",
                       {{"multiple-validation-sets", kFlag, "", "Each validation path is measured alone."},
                        {"validation-set-names", kStringList, "", "Names of the validation sets."},
                        {"per-dataset-sequences-path", kString, "", "Sequences per data set from a file."},
                        {"fim-data", kFlag, "", "Fill-in-the-middle samples."},
                        {"fim-eod-token", kString, "<|endoftext|>", "Fill-in-the-middle."},
                        {"fim-fragment-rate", kFloat, "", "Fill-in-the-middle."},
                        {"fim-middle-token", kString, "<fim_middle>", "Fill-in-the-middle."},
                        {"fim-no-prefix", kString, "", "Fill-in-the-middle."},
                        {"fim-pad-token", kString, "<fim_pad>", "Fill-in-the-middle."},
                        {"fim-prefix-token", kString, "<fim_prefix>", "Fill-in-the-middle."},
                        {"fim-rate", kFloat, "0.5", "Fill-in-the-middle."},
                        {"fim-split-sample", kString, "", "Fill-in-the-middle."},
                        {"fim-spm-rate", kFloat, "0.5", "Fill-in-the-middle."},
                        {"fim-suffix-token", kString, "<fim_suffix>", "Fill-in-the-middle."},
                        {"sft", kFlag, "", "Supervised fine-tuning on conversations."},
                        {"sft-tokenizer-prompt-format", kString, "nemotron-h-aligned", "Form of the conversations."},
                        {"chat-template", kString, "", "Form of the conversations."}});

  add_tokenizer_rows(rows);
}

}  // namespace conclave
