// Tokenizer and data of a run, from options.
#pragma once

#include <memory>
#include <optional>

#include "config/options.h"
#include "data/batch_source.h"
#include "data/tokenizer/tokenizer.h"

namespace conclave {

/// Null where the options name no tokenizer (then --vocab-size decides the vocabulary).
std::unique_ptr<Tokenizer> make_run_tokenizer(const TokenizerOptions& tokenizer, int64_t vocab_size);
/// V: the tokenizer's, or --vocab-size. UserError if there is neither, or --vocab-size is below the tokenizer's.
int64_t run_vocab_size(const Options& options, const Tokenizer* tokenizer);
/// Data sets, each split once: evaluation.
BatchConfig whole_batch_config(const Options& options, const Tokenizer* tokenizer, int64_t vocab);
/// Data sets of a training run: as many samples as it will take.
BatchConfig run_batch_config(const Options& options, const Tokenizer* tokenizer, int64_t vocab);

}  // namespace conclave
