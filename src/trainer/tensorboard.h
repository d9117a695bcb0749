// Event files that TensorBoard reads: records (length, masked CRC-32C, bytes, masked CRC-32C) of `Event` messages.
//
// Of TensorFlow's event.proto and summary.proto only eight fields of three messages are needed, in the wire format of
// Protocol Buffers: those few lines stand here instead of generated headers, so that the build needs no proto compiler
// and no file of another project.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "device/memory.h"
#include "trainer/metrics.h"
#include "trainer/step_times.h"

namespace conclave {

/// The protobuf bytes of a message, field by field. Wire types: https://protobuf.dev/programming-guides/encoding/
class WireMessage {
 public:
  void add_int(int field, int64_t value);
  void add_float(int field, float value);
  void add_double(int field, double value);
  void add_bytes(int field, std::string_view bytes);
  void add_doubles(int field, const std::vector<double>& values);  ///< packed
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  void add_varint(uint64_t value);
  void add_key(int field, int wire_type);
  void add_fixed(uint64_t bits, int count);
};

/// Counts in given bins: bin i is [limits[i-1], limits[i]), the first begins at `minimum`.
struct EventHistogram {
  double minimum = 0;
  std::vector<double> limits;
  std::vector<double> counts;
  /// One bin per expert e, [e - 1/2, e + 1/2), so that the picture shows who got how many tokens.
  static EventHistogram of_experts(const std::vector<int64_t>& tokens);
};

/// Appends events to a new file DIR/events.out.tfevents.TIME.HOST.PID; each event is one write.
class EventWriter {
 public:
  explicit EventWriter(const std::string& directory);
  void scalar(const std::string& tag, int64_t step, double value);
  void histogram(const std::string& tag, int64_t step, const EventHistogram& histogram);
  const std::string& path() const { return file_->path(); }

 private:
  std::unique_ptr<OutputFile> file_;
  void write_event(const WireMessage& event);
  void write_value(int64_t step, const WireMessage& value);
};

/// The scalars of a log interval under Megatron's tags; table in docs/file-formats.md.
void write_train_events(EventWriter& writer, const TrainRecord& record);
struct EvaluatedLoss {
  std::string split;  ///< "valid" or "test"
  double lm_loss = 0;
  bool with_perplexity = false;  ///< --log-validation-ppl-to-tensorboard
};
/// "lm loss validation" (or test), and its perplexity.
void write_eval_events(EventWriter& writer, int64_t iteration, const EvaluatedLoss& loss);
/// --log-memory-to-tensorboard: "mem-allocated-bytes" and its peak, whole and by category.
void write_memory_events(EventWriter& writer, int64_t iteration, const MemoryStatistics& memory);
/// --log-timers-to-tensorboard: "NAME-time", mean seconds of a step.
void write_time_events(EventWriter& writer, int64_t iteration, const NamedTimes& times, int64_t steps);
/// "experts/tokens_layer_L".
void write_expert_events(EventWriter& writer, int64_t iteration, int64_t layer, const std::vector<int64_t>& tokens);

/// The payloads of an event file. UserError naming file and byte if a checksum is wrong; a torn last record (of a run
/// that was killed) ends the list.
std::vector<std::string> read_event_records(const std::string& path);

}  // namespace conclave
