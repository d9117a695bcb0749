#include "data/preprocess.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "data/indexed_dataset.h"
#include "data/tokenizer/tokenizer.h"

namespace conclave {
namespace {

constexpr size_t kBadLinesKept = 10;

// What a chunk became: for each key its tokens, the lengths of its sequences, and how many sequences each document has.
struct Encoded {
  struct Key {
    std::vector<int32_t> tokens;
    std::vector<int32_t> lengths;
    std::vector<int32_t> sequences;
  };
  struct Size {
    size_t tokens, lengths, sequences;
  };
  std::vector<Key> keys;
  std::vector<std::string> bad_lines;
  std::exception_ptr error;

  std::vector<Size> sizes() const {
    std::vector<Size> out;
    for (const Key& key : keys) out.push_back({key.tokens.size(), key.lengths.size(), key.sequences.size()});
    return out;
  }
  void shrink_to(const std::vector<Size>& sizes) {
    for (size_t k = 0; k < keys.size(); ++k) {
      keys[k].tokens.resize(sizes[k].tokens);
      keys[k].lengths.resize(sizes[k].lengths);
      keys[k].sequences.resize(sizes[k].sequences);
    }
  }
};

// Turns chunks into tokens; const, so that many threads may use it.
class ChunkEncoder {
 public:
  ChunkEncoder(const PreprocessConfig& config, const Tokenizer& tokenizer, const DocumentReader& reader)
      : config_(config), tokenizer_(tokenizer), reader_(reader) {}

  Encoded encode(const DocumentChunk& chunk) const {
    Encoded out;
    out.keys.resize(config_.json_keys.size());
    try {
      for (size_t i = 0; i < chunk.documents.size(); ++i) encode_document(chunk, i, out);
    } catch (...) {
      out.error = std::current_exception();
    }
    return out;
  }

 private:
  void encode_document(const DocumentChunk& chunk, size_t i, Encoded& out) const {
    const std::vector<Encoded::Size> before = out.sizes();
    try {
      if (chunk.format == TextFormat::kText) return add_document({chunk[i]}, out.keys[0]);
      const Json json = Json::parse(chunk[i], "line");
      std::vector<std::vector<std::string_view>> parts;
      for (const std::string& key : config_.json_keys) parts.push_back(strings_of(json, key));
      for (size_t k = 0; k < parts.size(); ++k) add_document(parts[k], out.keys[k]);
    } catch (const UserError& error) {
      const std::string text =
          fmt::format("{}:{}: {}", reader_.path(chunk.file), chunk.documents[i].line, error.what());
      CONCLAVE_USER_CHECK(config_.skip_bad_lines,
                          "[data] {}; mend the line, or go past such lines with --skip-bad-lines", text);
      out.bad_lines.push_back(text);
      out.shrink_to(before);
    }
  }

  static std::vector<std::string_view> strings_of(const Json& json, const std::string& key) {
    if (!json.is_object()) throw_user("a JSON object is expected");
    const Json* value = nullptr;  // of equal keys the last counts
    for (const auto& [name, member] : json.as_object()) {
      if (name == key) value = &member;
    }
    if (value == nullptr) throw_user(fmt::format("the object has no key \"{}\"", key));
    if (value->is_string()) return {value->as_string()};
    std::vector<std::string_view> out;
    if (!value->is_array()) throw_user(fmt::format("\"{}\" is neither a string nor a list of strings", key));
    for (const Json& part : value->as_array()) {
      if (!part.is_string()) throw_user(fmt::format("\"{}\" is a list of something else than strings", key));
      out.push_back(part.as_string());
    }
    return out;
  }

  void add_document(const std::vector<std::string_view>& parts, Encoded::Key& out) const {
    int32_t sequences = 0;
    for (const std::string_view part : parts) {
      const size_t before = out.tokens.size();
      if (config_.add_special_tokens) {
        const std::vector<int32_t> ids = tokenizer_.encode_with_special(part);
        out.tokens.insert(out.tokens.end(), ids.begin(), ids.end());
      } else {
        tokenizer_.encode_to(part, out.tokens);
      }
      if (out.tokens.size() == before) continue;
      out.lengths.push_back(narrow<int32_t>(out.tokens.size() - before));
      ++sequences;
    }
    if (sequences > 0 && config_.append_eod) {
      out.tokens.push_back(*tokenizer_.eod());
      ++out.lengths.back();
    }
    out.sequences.push_back(sequences);
  }

  const PreprocessConfig& config_;
  const Tokenizer& tokenizer_;
  const DocumentReader& reader_;
};

// Threads take chunks from the reader in turn and encode them; results come out in the order of the chunks. Chunks
// ahead of the writer are limited, and so is memory.
class EncodingPipeline {
 public:
  EncodingPipeline(DocumentReader& reader, const ChunkEncoder& encoder, int64_t workers)
      : reader_(reader), encoder_(encoder), ahead_(2 * workers) {
    for (int64_t i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }
  ~EncodingPipeline() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  enum class Step { kResult, kWaiting, kEnd };
  /// Waits at most a second. Throws what reading or encoding threw, at the chunk concerned.
  Step next(Encoded& out) {
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return done_.contains(written_) || written_ == total_; };
    if (!changed_.wait_for(lock, std::chrono::seconds(1), ready)) return Step::kWaiting;
    const auto found = done_.find(written_);
    if (found == done_.end()) {
      if (read_error_) std::rethrow_exception(read_error_);
      return Step::kEnd;
    }
    out = std::move(found->second);
    done_.erase(found);
    ++written_;
    changed_.notify_all();
    if (out.error) std::rethrow_exception(out.error);
    return Step::kResult;
  }

  void fill_in(PreprocessProgress& progress) const {
    const std::lock_guard lock(read_mutex_);
    progress.text_bytes = reader_.text_bytes();
    const double total = static_cast<double>(reader_.total_file_bytes());
    progress.fraction = total > 0 ? static_cast<double>(reader_.file_bytes()) / total : 1.0;
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || total_ >= 0 || started_ < written_ + ahead_; });
      if (stopping_ || total_ >= 0) return;
      ++started_;
      lock.unlock();
      DocumentChunk chunk;
      const bool more = read(chunk);
      Encoded result;
      if (more) result = encoder_.encode(chunk);
      lock.lock();
      if (more)
        done_.emplace(chunk.number, std::move(result));
      else
        total_ = read_;
      changed_.notify_all();
    }
  }

  // One thread reads at a time, and none after the end or an error.
  bool read(DocumentChunk& chunk) {
    const std::lock_guard lock(read_mutex_);
    if (read_over_) return false;
    try {
      read_over_ = !reader_.next(chunk);
    } catch (...) {
      read_error_ = std::current_exception();
      read_over_ = true;
    }
    read_ += read_over_ ? 0 : 1;
    return !read_over_;
  }

  DocumentReader& reader_;
  const ChunkEncoder& encoder_;
  int64_t ahead_;
  mutable std::mutex read_mutex_;  // of the reader and the next three
  bool read_over_ = false;
  int64_t read_ = 0;
  std::exception_ptr read_error_;
  std::mutex mutex_;  // of the rest
  std::condition_variable changed_;
  bool stopping_ = false;
  int64_t started_ = 0;
  int64_t written_ = 0;
  int64_t total_ = -1;  // chunks in all, once known
  std::map<int64_t, Encoded> done_;
  std::vector<std::thread> threads_;
};

void check_config(const PreprocessConfig& config, const Tokenizer& tokenizer, const std::vector<std::string>& files) {
  CONCLAVE_USER_CHECK(!config.output_prefix.empty(), "[data] no output prefix; give --output-prefix");
  CONCLAVE_USER_CHECK(!config.json_keys.empty(), "[data] no keys of the JSON objects; give --json-keys");
  const std::set<std::string> distinct(config.json_keys.begin(), config.json_keys.end());
  CONCLAVE_USER_CHECK(distinct.size() == config.json_keys.size(), "[data] a key stands twice in {}; name each once",
                      join(config.json_keys, " "));
  CONCLAVE_USER_CHECK(!config.append_eod || tokenizer.eod(),
                      "[data] --append-eod, but the tokenizer {} has no end-of-document token; leave it out or choose "
                      "another tokenizer",
                      tokenizer.name());
  CONCLAVE_USER_CHECK(config.workers >= 0, "[data] {} workers; give 0 (all processors) or more", config.workers);
  for (const std::string& file : files) {
    CONCLAVE_USER_CHECK(
        text_format_of(file) == TextFormat::kJsonl || config.json_keys == std::vector<std::string>{"text"},
        "[data] '{}' is plain text and has no keys, --json-keys is {}; leave it out or give .jsonl files", file,
        join(config.json_keys, " "));
  }
}

// Counts what was written and tells about it.
class ProgressTeller {
 public:
  ProgressTeller(const PreprocessConfig& config, const EncodingPipeline& pipeline, PreprocessResult& result)
      : config_(config), pipeline_(pipeline), result_(result) {}

  void tell(bool finished) {
    CONCLAVE_USER_CHECK(finished || !config_.cancelled || !config_.cancelled(),
                        "[data] stopped on request; nothing was written");
    if (!finished && since_last_.seconds() < 1.0) return;
    since_last_.restart();
    PreprocessProgress progress;
    pipeline_.fill_in(progress);
    progress.documents = result_.documents;
    progress.tokens = result_.tokens;
    progress.bad_lines = result_.bad_lines;
    progress.seconds = result_.seconds = clock_.seconds();
    const double seconds = std::max(progress.seconds, 1e-9);
    progress.text_bytes_per_second = static_cast<double>(progress.text_bytes) / seconds;
    progress.tokens_per_second = static_cast<double>(progress.tokens) / seconds;
    progress.eta_seconds = progress.fraction > 0 ? seconds * (1 / progress.fraction - 1) : -1;
    progress.finished = finished;
    result_.text_bytes = progress.text_bytes;
    if (config_.progress) config_.progress(progress);
  }

 private:
  const PreprocessConfig& config_;
  const EncodingPipeline& pipeline_;
  PreprocessResult& result_;
  Stopwatch clock_;
  Stopwatch since_last_;
};

void write_key(const Encoded::Key& key, IndexedDatasetBuilder& builder) {
  size_t token = 0, sequence = 0;
  for (const int32_t sequences : key.sequences) {
    for (int32_t i = 0; i < sequences; ++i) {
      const size_t length = static_cast<size_t>(key.lengths[sequence++]);
      builder.add_sequence(std::span(key.tokens).subspan(token, length));
      token += length;
    }
    builder.end_document();
  }
}

}  // namespace

std::string PreprocessProgress::text() const {
  std::string out = fmt::format("{:.1f}% | {} documents | {} tokens | {:.1f} MB/s | {} tokens/s", 100 * fraction,
                                human_count(static_cast<double>(documents)), human_count(static_cast<double>(tokens)),
                                text_bytes_per_second / 1e6, human_count(tokens_per_second));
  if (bad_lines > 0) out += fmt::format(" | {} bad lines skipped", bad_lines);
  if (finished) return out + " | " + human_seconds(seconds);
  if (eta_seconds >= 0) out += " | " + human_seconds(eta_seconds) + " left";
  return out;
}

PreprocessResult preprocess(const PreprocessConfig& config, const Tokenizer& tokenizer) {
  const std::vector<std::string> files = expand_inputs(config.inputs);
  check_config(config, tokenizer, files);
  DocumentReader reader(files, config.text_documents);
  PreprocessResult result;
  std::vector<std::unique_ptr<IndexedDatasetBuilder>> builders;
  for (const std::string& key : config.json_keys) {
    result.outputs.push_back(config.output_prefix + "_" + key + "_document");
    builders.push_back(
        std::make_unique<IndexedDatasetBuilder>(result.outputs.back(), token_dtype(tokenizer.vocab_size())));
  }
  const int64_t processors = std::max<int64_t>(1, std::thread::hardware_concurrency());
  const ChunkEncoder encoder(config, tokenizer, reader);
  EncodingPipeline pipeline(reader, encoder, config.workers > 0 ? config.workers : processors);
  ProgressTeller teller(config, pipeline, result);
  using Step = EncodingPipeline::Step;
  Encoded chunk;
  for (Step step = pipeline.next(chunk); step != Step::kEnd; step = pipeline.next(chunk)) {
    if (step == Step::kResult) {
      for (size_t k = 0; k < builders.size(); ++k) {
        write_key(chunk.keys[k], *builders[k]);
        result.tokens += static_cast<int64_t>(chunk.keys[k].tokens.size());
      }
      result.documents += static_cast<int64_t>(chunk.keys[0].sequences.size());
      result.bad_lines += static_cast<int64_t>(chunk.bad_lines.size());
      for (const std::string& line : chunk.bad_lines) {
        if (result.first_bad_lines.size() < kBadLinesKept) result.first_bad_lines.push_back(line);
      }
    }
    teller.tell(false);
  }
  CONCLAVE_USER_CHECK(result.tokens > 0, "[data] no tokens in {} ({} bad lines); nothing was written",
                      join(config.inputs, ", "), result.bad_lines);
  for (const auto& builder : builders) builder->finalize();
  teller.tell(true);
  return result;
}

}  // namespace conclave
