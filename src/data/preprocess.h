// Text into token files: what `conclave preprocess` does.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/document_reader.h"

namespace conclave {

class Tokenizer;

struct PreprocessProgress {
  int64_t documents = 0;
  int64_t tokens = 0;
  int64_t bad_lines = 0;
  int64_t text_bytes = 0;
  double fraction = 0;  ///< of the input files' bytes
  double seconds = 0;
  double text_bytes_per_second = 0;
  double tokens_per_second = 0;
  double eta_seconds = 0;  ///< negative while unknown
  bool finished = false;

  /// "12.3% | 1.2M documents | 340M tokens | 25.1 MB/s | 8.1M tokens/s | 3m 10s left".
  std::string text() const;
};

struct PreprocessConfig {
  /// Files or patterns; plain text or JSONL (see text_format_of), each perhaps compressed.
  std::vector<std::string> inputs;
  /// Results are PREFIX_KEY_document.bin and .idx for each key; plain text counts as the key "text".
  std::string output_prefix;
  /// Members of a JSONL object: a string, or a list of strings (then each is a sequence of its own).
  std::vector<std::string> json_keys = {"text"};
  bool append_eod = false;
  /// With the start and end tokens of the tokenizer's own template.
  bool add_special_tokens = false;
  TextDocuments text_documents = TextDocuments::kParagraph;
  int64_t workers = 0;  ///< threads that tokenise; 0: as many as processors
  bool skip_bad_lines = false;
  /// Called by the calling thread about once a second and at the end.
  std::function<void(const PreprocessProgress&)> progress;
  /// Asked after each megabyte of text or so; true ends the work with a UserError and leaves nothing behind.
  std::function<bool()> cancelled;
};

struct PreprocessResult {
  int64_t documents = 0;
  int64_t tokens = 0;
  int64_t text_bytes = 0;
  double seconds = 0;
  std::vector<std::string> outputs;  ///< prefixes, ready for --data-path
  int64_t bad_lines = 0;
  std::vector<std::string> first_bad_lines;  ///< "FILE:LINE: what is wrong", ten at most
};

/// Tokenises all inputs into .bin/.idx, which appear under their names only when all is done. The bytes do not depend
/// on `workers`. Throws UserError: nothing to read, a bad line (FILE:LINE, unless skip_bad_lines), a full disk, no eod
/// token.
PreprocessResult preprocess(const PreprocessConfig& config, const Tokenizer& tokenizer);

}  // namespace conclave
