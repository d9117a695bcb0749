#include "data/batch_source.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"

namespace conclave {
namespace {

// A micro-batch to be made.
struct Job {
  int64_t number = 0;  // of the stream
  std::vector<int64_t> samples;
  int64_t first_ordinal = 0;
  int64_t consumed_after = 0;
};

struct Done {
  MicroBatch batch;
  int64_t consumed_after = 0;
  std::exception_ptr error;
};

void check_vocabulary(const TokenSample& sample, const SplitData& data, int64_t vocab_size) {
  size_t at = 0;
  for (const SamplePart& part : sample.origin.parts) {
    for (int64_t i = 0; i < part.count; ++i, ++at) {
      const int64_t token = sample.text[at];
      CONCLAVE_USER_CHECK(
          token >= 0 && token < vocab_size,
          "[data] '{}': token {} of document {} is {}, outside the vocabulary of {}; the data were made "
          "with another tokenizer",
          data.sources.at(static_cast<size_t>(sample.origin.source))->name(), part.offset + i, part.sequence, token,
          vocab_size);
    }
  }
}

MicroBatch make_batch(const SplitData& data, const BatchConfig& config, const Job& job) {
  const FieldOptions& fields = config.fields;
  const size_t rows = job.samples.size(), length = static_cast<size_t>(fields.seq_length);
  MicroBatch out;
  out.batch = static_cast<int64_t>(rows);
  out.seq_length = fields.seq_length;
  out.tokens.resize(rows * length);
  out.labels.resize(rows * length);
  out.loss_mask.resize(rows * length);
  out.position_ids.resize(rows * length);
  TokenSample sample;
  for (size_t row = 0; row < rows; ++row) {
    data.samples->fetch(job.samples[row], sample);
    if (config.vocab_size > 0) check_vocabulary(sample, data, config.vocab_size);
    const auto row_of = [&](auto& array) { return std::span(array).subspan(row * length, length); };
    std::vector<int32_t> bounds = make_fields(
        sample.text, fields, {row_of(out.tokens), row_of(out.labels), row_of(out.loss_mask), row_of(out.position_ids)});
    if (fields.reset_attention_mask || fields.inter_document_masking) out.cu_seqlens.push_back(std::move(bounds));
    out.ordinals.push_back(job.first_ordinal + static_cast<int64_t>(row));
    out.origins.push_back(sample.origin);
  }
  return out;
}

}  // namespace

struct BatchStream::State {
  State(const SplitData& split, const BatchConfig& batch_config, const SamplerSpec& sampler_spec, int64_t base)
      : data(split), config(batch_config), spec(sampler_spec), ordinal_base(base), sampler(sampler_spec) {
    consumed = base + spec.consumed_samples;
  }

  bool take_job(Job& job);
  Done carry_out(const Job& job) const;
  void work();

  const SplitData& data;
  const BatchConfig& config;
  SamplerSpec spec;
  int64_t ordinal_base;  // run ordinal of sample 0

  mutable std::mutex mutex;
  std::condition_variable changed;
  Sampler sampler;
  int64_t taken = 0;        // jobs given to threads
  int64_t delivered = 0;    // micro-batches given out
  int64_t consumed = 0;     // after the last one given out
  int64_t total_jobs = -1;  // known once the sampler has come to its end
  int64_t depth = 0;        // micro-batches ahead
  bool stopping = false;
  std::map<int64_t, Done> done;
  std::exception_ptr failure;
  std::vector<std::thread> threads;
};

// Called under the lock (or without threads).
bool BatchStream::State::take_job(Job& job) {
  if (total_jobs >= 0) return false;
  if (spec.type == DataloaderType::kCyclic) {
    const int64_t slice = spec.micro_batch_size * spec.data_parallel_size;
    const int64_t epoch = spec.total_samples / slice * slice;
    if (sampler.consumed() > spec.consumed_samples && sampler.consumed() % epoch == 0) {
      spec.consumed_samples = sampler.consumed();
      sampler = Sampler(spec);
    }
  }
  job.first_ordinal = ordinal_base + sampler.consumed() + spec.data_parallel_rank * spec.micro_batch_size;
  if (!sampler.next(job.samples)) {
    total_jobs = taken;
    return false;
  }
  job.number = taken++;
  job.consumed_after = ordinal_base + sampler.consumed();
  return true;
}

Done BatchStream::State::carry_out(const Job& job) const {
  Done out;
  out.consumed_after = job.consumed_after;
  try {
    out.batch = make_batch(data, config, job);
  } catch (...) {
    out.error = std::current_exception();
  }
  return out;
}

void BatchStream::State::work() {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] { return stopping || total_jobs >= 0 || taken < delivered + depth; });
    Job job;
    if (stopping) return;
    try {
      if (!take_job(job)) {
        changed.notify_all();
        return;
      }
    } catch (...) {
      failure = std::current_exception();
      total_jobs = taken;
      changed.notify_all();
      return;
    }
    lock.unlock();
    Done result = carry_out(job);
    lock.lock();
    done.emplace(job.number, std::move(result));
    changed.notify_all();
  }
}

BatchStream::BatchStream(std::unique_ptr<State> state) : state_(std::move(state)) {}

BatchStream::~BatchStream() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

std::optional<MicroBatch> BatchStream::next() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  if (s.threads.empty() && !s.stopping) {
    Job job;
    if (s.take_job(job)) s.done.emplace(job.number, s.carry_out(job));
  }
  s.changed.wait(lock, [&] { return s.done.contains(s.delivered) || s.total_jobs == s.delivered || s.stopping; });
  const auto found = s.done.find(s.delivered);
  if (found == s.done.end()) {
    if (s.failure) std::rethrow_exception(s.failure);
    return std::nullopt;
  }
  if (found->second.error) {
    s.failure = found->second.error;
    s.stopping = true;
    s.done.clear();
    s.changed.notify_all();
    std::rethrow_exception(s.failure);
  }
  MicroBatch out = std::move(found->second.batch);
  s.consumed = found->second.consumed_after;
  s.done.erase(found);
  ++s.delivered;
  s.changed.notify_all();
  return out;
}

int64_t BatchStream::consumed_samples() const {
  const std::lock_guard lock(state_->mutex);
  return state_->consumed;
}

BatchSource::BatchSource(const BatchConfig& config, const std::optional<DataPosition>& position)
    : config_(config), data_(config.data, position) {
  config_.fields.seq_length = config.data.seq_length;
}

int64_t BatchSource::size(Split split) const {
  const SplitData& data = data_.split(split);
  if (!data.samples) return 0;
  const bool runs_on = split == Split::kTrain && config_.data.dataloader_type == DataloaderType::kSingle;
  return data.samples->size() + (runs_on ? data_.segment_start() : 0);
}

std::unique_ptr<BatchStream> BatchSource::stream(Split split, const StreamSpec& spec) const {
  const SplitData& data = data_.split(split);
  CONCLAVE_USER_CHECK(data.samples != nullptr, "[data] there are no {} data; give the {} split a share or a path",
                      split_name(split), split_name(split));
  const int64_t base = split == Split::kTrain ? data_.segment_start() : 0;
  CONCLAVE_USER_CHECK(
      spec.consumed_samples >= base,
      "[data] sample {} came from an earlier blend, this one began at sample {}; use the data options of "
      "that time",
      spec.consumed_samples, base);
  CONCLAVE_CHECK(spec.workers >= 0, "{} workers", spec.workers);
  SamplerSpec sampler;
  if (split == Split::kTrain) sampler.type = config_.data.dataloader_type;
  sampler.total_samples = data.samples->size();
  sampler.consumed_samples = spec.consumed_samples - base;
  sampler.micro_batch_size = spec.micro_batch_size;
  sampler.data_parallel_rank = spec.data_parallel_rank;
  sampler.data_parallel_size = spec.data_parallel_size;
  sampler.drop_last = spec.drop_last;
  sampler.data_sharding = spec.data_sharding;
  auto state = std::make_unique<BatchStream::State>(data, config_, sampler, base);
  BatchStream::State* shared = state.get();
  state->depth = 2 * spec.workers;
  std::unique_ptr<BatchStream> stream(new BatchStream(std::move(state)));
  for (int64_t i = 0; i < spec.workers; ++i) shared->threads.emplace_back([shared] { shared->work(); });
  return stream;
}

Json BatchSource::describe(Split split, const SampleOrigin& origin) const {
  Json parts = Json::array();
  for (const SamplePart& part : origin.parts) {
    Json entry = Json::object();
    entry["document"] = part.sequence;
    entry["offset"] = part.offset;
    entry["tokens"] = part.count;
    parts.push_back(entry);
  }
  Json out = Json::object();
  out["source"] = origin.source;
  out["path"] = data_.split(split).sources.at(static_cast<size_t>(origin.source))->name();
  out["sample"] = origin.sample;
  out["parts"] = parts;
  return out;
}

}  // namespace conclave
