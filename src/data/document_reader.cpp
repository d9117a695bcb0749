#include "data/document_reader.h"

#include <glob.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace conclave {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr size_t kReadBytes = size_t{64} << 10;
constexpr size_t kLongestDocument = (size_t{1} << 31) - 1;

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

/// One past the '\n' that ends the line at `begin`, or the end of the text.
size_t line_end(std::string_view text, size_t begin) {
  const size_t at = text.find('\n', begin);
  return at == std::string_view::npos ? text.size() : at + 1;
}

}  // namespace

TextDocuments text_documents_from_name(std::string_view name) {
  if (name == "paragraph") return TextDocuments::kParagraph;
  if (name == "line") return TextDocuments::kLine;
  if (name == "file") return TextDocuments::kFile;
  throw_user(fmt::format("[data] documents of text are '{}'; paragraph, line and file are known", name));
}

TextFormat text_format_of(std::string_view path) {
  for (const std::string_view suffix : {".gz", ".zst"}) {
    if (path.ends_with(suffix)) path.remove_suffix(suffix.size());
  }
  const bool json = path.ends_with(".jsonl") || path.ends_with(".json") || path.ends_with(".ndjson");
  return json ? TextFormat::kJsonl : TextFormat::kText;
}

std::vector<std::string> expand_inputs(const std::vector<std::string>& inputs) {
  std::vector<std::string> files;
  for (const std::string& input : inputs) {
    if (file_exists(input) || input.find_first_of("*?[") == std::string::npos) {
      files.push_back(input);
      continue;
    }
    glob_t found = {};
    const int status = ::glob(input.c_str(), GLOB_NOESCAPE, nullptr, &found);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; ++i) files.emplace_back(found.gl_pathv[i]);
    ::globfree(&found);
    CONCLAVE_USER_CHECK(status == 0, "[data] no file matches '{}'; check the pattern", input);
  }
  CONCLAVE_USER_CHECK(!files.empty(), "[data] no input files are given; name at least one");
  return files;
}

DocumentReader::DocumentReader(std::vector<std::string> files, TextDocuments text_documents)
    : files_(std::move(files)), text_documents_(text_documents) {
  for (const std::string& file : files_) total_file_bytes_ += TextInput(file).file_bytes();
}

int64_t DocumentReader::file_bytes() const { return done_file_bytes_ + (input_ ? input_->file_position() : 0); }

bool DocumentReader::open_next() {
  if (input_) done_file_bytes_ += input_->file_bytes();
  input_.reset();
  if (next_file_ == files_.size()) return false;
  input_ = std::make_unique<TextInput>(files_[next_file_]);
  format_ = text_format_of(files_[next_file_]);
  ++next_file_;
  buffer_.clear();
  at_end_ = false;
  line_ = 1;
  fill(3);
  if (buffer_.starts_with("\xef\xbb\xbf")) buffer_.erase(0, 3);  // a byte-order mark is no text
  return true;
}

void DocumentReader::fill(size_t wanted) {
  while (!at_end_ && buffer_.size() < wanted) {
    const size_t before = buffer_.size();
    buffer_.resize(std::min(wanted, before + kReadBytes));
    const size_t got = input_->read(std::span(buffer_).subspan(before));
    buffer_.resize(before + got);
    at_end_ = got == 0;
    text_bytes_ += static_cast<int64_t>(got);
  }
}

size_t DocumentReader::whole_documents() const {
  if (at_end_) return buffer_.size();
  if (format_ == TextFormat::kText && text_documents_ == TextDocuments::kFile) return 0;
  const size_t last_line = buffer_.rfind('\n') + 1;  // 0 if there is none
  if (format_ == TextFormat::kJsonl || text_documents_ == TextDocuments::kLine) return last_line;
  // The last blank line ends a paragraph; without one, any line's end has to do.
  size_t end = last_line;
  while (end > 0) {
    const size_t begin = end == 1 ? 0 : buffer_.rfind('\n', end - 2) + 1;
    if (is_blank(std::string_view(buffer_).substr(begin, end - begin))) return end;
    end = begin;
  }
  return last_line;
}

bool DocumentReader::next(DocumentChunk& chunk) {
  while (!input_ || (at_end_ && buffer_.empty())) {
    if (!open_next()) return false;
  }
  size_t wanted = kChunkBytes, take = 0;
  for (; take == 0; wanted = std::min(2 * wanted, kLongestDocument + 1)) {
    CONCLAVE_USER_CHECK(buffer_.size() <= kLongestDocument,
                        "[data] {}:{}: one line or document of more than 2 GiB; split it", path(next_file_ - 1), line_);
    fill(wanted);
    take = whole_documents();
    if (take == 0 && at_end_) return next(chunk);  // an empty file
  }
  chunk.number = chunks_++;
  chunk.file = next_file_ - 1;
  chunk.format = format_;
  chunk.text.assign(buffer_, 0, take);
  chunk.documents.clear();
  buffer_.erase(0, take);
  cut(chunk);
  line_ += std::count(chunk.text.begin(), chunk.text.end(), '\n');
  return true;
}

void DocumentReader::cut(DocumentChunk& chunk) const {
  if (format_ == TextFormat::kJsonl || text_documents_ == TextDocuments::kLine) return cut_lines(chunk);
  if (text_documents_ == TextDocuments::kParagraph) return cut_paragraphs(chunk);
  CONCLAVE_USER_CHECK(chunk.text.size() <= kLongestDocument, "[data] '{}' is one document of more than 2 GiB; split it",
                      path(next_file_ - 1));
  chunk.documents.push_back({0, chunk.text.size(), line_});
}

void DocumentReader::cut_lines(DocumentChunk& chunk) const {
  const std::string_view text = chunk.text;
  int64_t line = line_;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t next = line_end(text, begin);
    size_t end = next;
    if (end > begin && text[end - 1] == '\n') --end;
    if (end > begin && text[end - 1] == '\r') --end;
    const bool skip = format_ == TextFormat::kJsonl ? is_blank(text.substr(begin, end - begin)) : end == begin;
    if (!skip) chunk.documents.push_back({begin, end, line});
    begin = next;
  }
}

void DocumentReader::cut_paragraphs(DocumentChunk& chunk) const {
  const std::string_view text = chunk.text;
  size_t start = 0;
  int64_t line = line_, start_line = line_;
  bool has_text = false, ended = false;  // a blank line has followed the text
  for (size_t begin = 0; begin < text.size(); ++line) {
    const size_t next = line_end(text, begin);
    const bool blank = is_blank(text.substr(begin, next - begin));
    if (!blank && ended) {
      chunk.documents.push_back({start, begin, start_line});
      start = begin;
      start_line = line;
      ended = false;
    }
    has_text |= !blank;
    ended = blank ? has_text : ended;
    begin = next;
  }
  chunk.documents.push_back({start, text.size(), start_line});
}

}  // namespace conclave
