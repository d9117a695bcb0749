// Cuts text files into documents, in order, a chunk of about a megabyte at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/text_input.h"

namespace conclave {

/// What one document of a plain text file is.
enum class TextDocuments {
  kParagraph,  ///< a paragraph with the blank lines after it: all documents together are the file, byte for byte
  kLine,       ///< a line without its end; empty ones are left out
  kFile,       ///< the whole file
};
TextDocuments text_documents_from_name(std::string_view name);

enum class TextFormat { kText, kJsonl };
/// By the end of the name, less .gz or .zst: .jsonl, .json and .ndjson are JSONL, everything else is text.
TextFormat text_format_of(std::string_view path);

/// Expands patterns (*, ?, [..]), keeps the order given; files of one pattern are sorted. Throws UserError where
/// nothing matches.
std::vector<std::string> expand_inputs(const std::vector<std::string>& inputs);

/// Some documents of one file, in order. For JSONL a document is a line, not yet parsed.
struct DocumentChunk {
  struct Document {
    size_t begin = 0;
    size_t end = 0;
    int64_t line = 0;  ///< where it begins, from 1
  };
  int64_t number = 0;
  size_t file = 0;  ///< in the list of files
  TextFormat format = TextFormat::kText;
  std::string text;
  std::vector<Document> documents;

  std::string_view operator[](size_t i) const {
    return std::string_view(text).substr(documents[i].begin, documents[i].end - documents[i].begin);
  }
};

/// Chunks depend on the files alone, never on who asks when. A paragraph of more than a megabyte is cut at a line's
/// end.
class DocumentReader {
 public:
  /// Throws UserError if a file is missing; they are looked at before the first is read.
  DocumentReader(std::vector<std::string> files, TextDocuments text_documents);
  /// False at the end of the last file. Throws UserError on damaged files, and on a line of more than 2 GiB.
  bool next(DocumentChunk& chunk);

  /// Bytes of text so far.
  int64_t text_bytes() const { return text_bytes_; }
  /// Bytes of the files (compressed where they are) read so far and in all.
  int64_t file_bytes() const;
  int64_t total_file_bytes() const { return total_file_bytes_; }
  const std::string& path(size_t file) const { return files_[file]; }

 private:
  bool open_next();
  /// Appends text until `wanted` bytes are there or the file ends.
  void fill(size_t wanted);
  /// Bytes of the buffer that make whole documents; 0: more text is needed.
  size_t whole_documents() const;
  void cut(DocumentChunk& chunk) const;
  void cut_paragraphs(DocumentChunk& chunk) const;
  void cut_lines(DocumentChunk& chunk) const;

  std::vector<std::string> files_;
  TextDocuments text_documents_;
  size_t next_file_ = 0;
  std::unique_ptr<TextInput> input_;
  TextFormat format_ = TextFormat::kText;
  std::string buffer_;
  bool at_end_ = false;  ///< of the present file
  int64_t line_ = 1;
  int64_t chunks_ = 0;
  int64_t text_bytes_ = 0;
  int64_t done_file_bytes_ = 0;
  int64_t total_file_bytes_ = 0;
};

}  // namespace conclave
