#include "trainer/tensorboard.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace conclave {
namespace {

// Field numbers of Event, Summary, Summary.Value and HistogramProto.
constexpr int kEventTime = 1, kEventStep = 2, kEventFileVersion = 3, kEventSummary = 5;
constexpr int kSummaryValue = 1;
constexpr int kValueTag = 1, kValueScalar = 2, kValueHistogram = 5;
constexpr int kHistogramMin = 1, kHistogramMax = 2, kHistogramCount = 3, kHistogramSum = 4, kHistogramSquares = 5,
              kHistogramLimits = 6, kHistogramBuckets = 7;
constexpr int kWireVarint = 0, kWireFixed64 = 1, kWireBytes = 2, kWireFixed32 = 5;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

// The record format stores CRCs rotated and shifted, so that the CRC of data that holds CRCs stays useful.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(as_bytes(bytes));
  return std::rotr(crc, 15) + 0xa282ead8u;
}

template <typename T>
std::string little_endian(T value) {
  std::string out(sizeof(T), '\0');
  for (size_t i = 0; i < sizeof(T); ++i) out[i] = static_cast<char>(value >> (8 * i));
  return out;
}

template <typename T>
T from_little_endian(std::string_view bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value |= static_cast<T>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

std::string host_name() {
  char name[256] = "host";
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

std::string unused_path(const std::string& directory) {
  const std::string stem = fmt::format("{}/events.out.tfevents.{}.{}.{}", directory,
                                       static_cast<int64_t>(unix_seconds()), host_name(), ::getpid());
  std::string path = stem;
  for (int number = 1; file_exists(path); ++number) path = fmt::format("{}.{}", stem, number);
  return path;
}

}  // namespace

void WireMessage::add_varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}
void WireMessage::add_key(int field, int wire_type) {
  add_varint(static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}
void WireMessage::add_fixed(uint64_t bits, int count) {
  for (int i = 0; i < count; ++i) bytes_ += static_cast<char>(bits >> (8 * i));
}
void WireMessage::add_int(int field, int64_t value) {
  add_key(field, kWireVarint);
  add_varint(static_cast<uint64_t>(value));
}
void WireMessage::add_float(int field, float value) {
  add_key(field, kWireFixed32);
  add_fixed(std::bit_cast<uint32_t>(value), 4);
}
void WireMessage::add_double(int field, double value) {
  add_key(field, kWireFixed64);
  add_fixed(std::bit_cast<uint64_t>(value), 8);
}
void WireMessage::add_bytes(int field, std::string_view bytes) {
  add_key(field, kWireBytes);
  add_varint(bytes.size());
  bytes_ += bytes;
}
void WireMessage::add_doubles(int field, const std::vector<double>& values) {
  add_key(field, kWireBytes);
  add_varint(values.size() * sizeof(double));
  for (const double value : values) add_fixed(std::bit_cast<uint64_t>(value), 8);
}

EventHistogram EventHistogram::of_experts(const std::vector<int64_t>& tokens) {
  EventHistogram histogram;
  histogram.minimum = -0.5;
  for (size_t expert = 0; expert < tokens.size(); ++expert) {
    histogram.limits.push_back(static_cast<double>(expert) + 0.5);
    histogram.counts.push_back(static_cast<double>(tokens[expert]));
  }
  return histogram;
}

EventWriter::EventWriter(const std::string& directory) {
  make_directories(directory);
  file_ = std::make_unique<OutputFile>(unused_path(directory));
  WireMessage event;
  event.add_double(kEventTime, unix_seconds());
  event.add_bytes(kEventFileVersion, "brain.Event:2");
  write_event(event);
}

void EventWriter::write_event(const WireMessage& event) {
  const std::string length = little_endian(static_cast<uint64_t>(event.bytes().size()));
  file_->write(length + little_endian(masked_crc(length)) + event.bytes() + little_endian(masked_crc(event.bytes())));
}

void EventWriter::write_value(int64_t step, const WireMessage& value) {
  WireMessage summary;
  summary.add_bytes(kSummaryValue, value.bytes());
  WireMessage event;
  event.add_double(kEventTime, unix_seconds());
  event.add_int(kEventStep, step);
  event.add_bytes(kEventSummary, summary.bytes());
  write_event(event);
}

void EventWriter::scalar(const std::string& tag, int64_t step, double value) {
  WireMessage message;
  message.add_bytes(kValueTag, tag);
  message.add_float(kValueScalar, static_cast<float>(value));
  write_value(step, message);
}

void EventWriter::histogram(const std::string& tag, int64_t step, const EventHistogram& histogram) {
  CONCLAVE_CHECK_EQ(histogram.limits.size(), histogram.counts.size(), "bins of histogram '{}'", tag);
  if (histogram.limits.empty()) return;
  double count = 0, sum = 0, squares = 0, lower = histogram.minimum;
  for (size_t i = 0; i < histogram.limits.size(); ++i) {
    const double middle = (lower + histogram.limits[i]) / 2;
    count += histogram.counts[i];
    sum += histogram.counts[i] * middle;
    squares += histogram.counts[i] * middle * middle;
    lower = histogram.limits[i];
  }
  WireMessage message;
  message.add_double(kHistogramMin, histogram.minimum);
  message.add_double(kHistogramMax, histogram.limits.back());
  message.add_double(kHistogramCount, count);
  message.add_double(kHistogramSum, sum);
  message.add_double(kHistogramSquares, squares);
  message.add_doubles(kHistogramLimits, histogram.limits);
  message.add_doubles(kHistogramBuckets, histogram.counts);
  WireMessage value;
  value.add_bytes(kValueTag, tag);
  value.add_bytes(kValueHistogram, message.bytes());
  write_value(step, value);
}

void write_train_events(EventWriter& writer, const TrainRecord& record) {
  const int64_t step = record.iteration;
  const auto add = [&](const char* tag, const std::optional<double>& value) {
    if (value) writer.scalar(tag, step, *value);
  };
  for (const auto& [name, value] : record.losses) {
    // Megatron writes this one name with a blank.
    const std::string tag = name == "lm_loss" ? "lm loss" : name;
    writer.scalar(tag, step, value);
    if (name == "lm_loss") writer.scalar("lm loss vs samples", record.consumed_samples, value);
  }
  add("grad-norm", record.grad_norm);
  add("learning-rate", record.learning_rate);
  if (record.zeros_in_grad) writer.scalar("num-zeros", step, static_cast<double>(*record.zeros_in_grad));
  add("params-norm", record.params_norm);
  add("max_attention_logit", record.max_attention_logit);
  if (record.step_ms) writer.scalar("iteration-time", step, *record.step_ms / 1000);
  add("throughput", record.tflops);
  add("tokens-per-second", record.tokens_per_second);
  if (record.peak_bytes) writer.scalar("peak-bytes", step, static_cast<double>(*record.peak_bytes));
  writer.scalar("skipped-iterations", step, static_cast<double>(record.skipped));
}

void write_eval_events(EventWriter& writer, int64_t iteration, const EvaluatedLoss& loss) {
  const std::string tag = "lm loss " + (loss.split == "valid" ? std::string("validation") : loss.split);
  writer.scalar(tag, iteration, loss.lm_loss);
  if (loss.with_perplexity) writer.scalar(tag + " ppl", iteration, perplexity(loss.lm_loss));
}

void write_memory_events(EventWriter& writer, int64_t iteration, const MemoryStatistics& memory) {
  writer.scalar("mem-allocated-bytes", iteration, static_cast<double>(memory.current_total));
  writer.scalar("mem-max-allocated-bytes", iteration, static_cast<double>(memory.peak_total));
  writer.scalar("mem-allocated-count", iteration, static_cast<double>(memory.allocation_count));
  for (int i = 0; i < kMemoryCategoryCount; ++i) {
    const auto category = static_cast<size_t>(i);
    writer.scalar(fmt::format("mem-max-allocated-bytes/{}", memory_category_name(static_cast<MemoryCategory>(i))),
                  iteration, static_cast<double>(memory.category_peak[category]));
  }
}

void write_time_events(EventWriter& writer, int64_t iteration, const NamedTimes& times, int64_t steps) {
  for (const auto& [name, seconds] : times.list())
    writer.scalar(name + "-time", iteration, seconds / static_cast<double>(std::max<int64_t>(steps, 1)));
}

void write_expert_events(EventWriter& writer, int64_t iteration, int64_t layer, const std::vector<int64_t>& tokens) {
  writer.histogram(fmt::format("experts/tokens_layer_{}", layer), iteration, EventHistogram::of_experts(tokens));
}

std::vector<std::string> read_event_records(const std::string& path) {
  constexpr size_t kHead = 12, kTail = 4;
  const std::string text = read_file(path);
  std::vector<std::string> records;
  for (size_t place = 0; place < text.size();) {
    const std::string_view rest = std::string_view(text).substr(place);
    if (rest.size() < kHead) break;
    CONCLAVE_USER_CHECK(masked_crc(rest.substr(0, 8)) == from_little_endian<uint32_t>(rest.substr(8, 4)),
                        "'{}': the length of the record at byte {} does not match its checksum", path, place);
    const auto length = from_little_endian<uint64_t>(rest.substr(0, 8));
    if (length > rest.size() - kHead || rest.size() - kHead - length < kTail) break;
    const std::string_view payload = rest.substr(kHead, length);
    CONCLAVE_USER_CHECK(masked_crc(payload) == from_little_endian<uint32_t>(rest.substr(kHead + length, kTail)),
                        "'{}': the record at byte {} does not match its checksum", path, place);
    records.emplace_back(payload);
    place += kHead + length + kTail;
  }
  return records;
}

}  // namespace conclave
