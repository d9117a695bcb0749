#include "trainer/run_data.h"

#include "base/error.h"
#include "data/sample_counts.h"

namespace conclave {
namespace {

SampleCounts counts_of(const Options& options) {
  const TrainingOptions& training = options.training;
  SampleCountArgs args;
  args.train_iters = training.train_iters;
  if (training.train_samples > 0) args.train_samples = training.train_samples;
  args.global_batch_size = training.global_batch_size;
  args.eval_global_batch_size = training.eval_global_batch_size;
  if (training.eval_interval > 0) args.eval_interval = training.eval_interval;
  args.eval_iters = training.eval_iters;
  args.full_validation = training.full_validation;
  args.skip_train = training.skip_train;
  if (training.start_eval_at_iter > 0) args.start_eval_at_iter = training.start_eval_at_iter;
  return sample_counts(args);
}

void set_paths(const DataOptions& data, DataConfig* config) {
  const auto words = [](const std::vector<std::string>& given, const std::optional<std::string>& file) {
    return given.empty() && file ? read_data_args(*file) : given;
  };
  const std::vector<std::string> all = words(data.data_path, data.data_args_path);
  if (!all.empty()) config->blend = parse_data_path(all);
  std::array<std::vector<std::string>, kSplits> per_split = {data.train_data_path, data.valid_data_path,
                                                             data.test_data_path};
  if (data.per_split_data_args_path) per_split = read_per_split_data_args(*data.per_split_data_args_path);
  for (size_t i = 0; i < per_split.size(); ++i) {
    if (!per_split[i].empty()) config->blend_per_split[i] = parse_data_path(per_split[i]);
  }
}

}  // namespace

std::unique_ptr<Tokenizer> make_run_tokenizer(const TokenizerOptions& tokenizer, int64_t vocab_size) {
  if (!tokenizer.tokenizer_type) return nullptr;
  TokenizerConfig config;
  config.type = *tokenizer.tokenizer_type;
  config.model = tokenizer.tokenizer_model.value_or("");
  config.vocab_file = tokenizer.vocab_file.value_or("");
  config.merge_file = tokenizer.merge_file.value_or("");
  if (vocab_size > 0) config.vocab_size = vocab_size;
  config.null_tokenizer_eod_id = tokenizer.null_tokenizer_eod_id;
  config.null_tokenizer_pad_id = tokenizer.null_tokenizer_pad_id;
  return make_tokenizer(config);
}

int64_t run_vocab_size(const Options& options, const Tokenizer* tokenizer) {
  const int64_t given = options.model.vocab_size;
  if (tokenizer == nullptr) {
    CONCLAVE_USER_CHECK(
        given > 0,
        "the size of the vocabulary is not known; give --tokenizer-type (and --tokenizer-model), or --vocab-size");
    return given;
  }
  CONCLAVE_USER_CHECK(given == 0 || given >= tokenizer->vocab_size(),
                      "--vocab-size {} is below the tokenizer's {}; raise it or leave it out", given,
                      tokenizer->vocab_size());
  return given > 0 ? given : tokenizer->vocab_size();
}

BatchConfig whole_batch_config(const Options& options, const Tokenizer* tokenizer, int64_t vocab) {
  BatchConfig config;
  config.vocab_size = vocab;
  DataConfig& data = config.data;
  set_paths(options.data, &data);
  data.mock = options.data.mock_data;
  data.split = options.data.split.value_or("");
  data.seq_length = options.model.seq_length;
  data.seed = options.training.seed;
  data.mid_level_dataset_surplus = options.data.mid_level_dataset_surplus;
  data.dataloader_type = dataloader_type_from_name(options.data.dataloader_type);
  data.vocab_size = vocab;
  data.eod = tokenizer != nullptr && tokenizer->eod() ? *tokenizer->eod() : vocab - 1;
  if (options.data.data_cache_path) data.cache = {IndexCache::Place::kFolder, *options.data.data_cache_path};
  FieldOptions& fields = config.fields;
  fields.eod = data.eod;
  if (tokenizer != nullptr && tokenizer->pad()) fields.pad = *tokenizer->pad();
  fields.eod_mask_loss = options.data.eod_mask_loss;
  fields.reset_position_ids = options.data.reset_position_ids;
  fields.reset_attention_mask = options.data.reset_attention_mask;
  fields.inter_document_masking = options.data.dataloader_inter_document_masking;
  return config;
}

BatchConfig run_batch_config(const Options& options, const Tokenizer* tokenizer, int64_t vocab) {
  BatchConfig config = whole_batch_config(options, tokenizer, vocab);
  const SampleCounts counts = counts_of(options);
  const bool evaluates = options.training.eval_iters > 0 || options.training.full_validation;
  config.data.samples = {counts.train, evaluates ? counts.valid : 0, evaluates ? counts.test : 0};
  return config;
}

}  // namespace conclave
