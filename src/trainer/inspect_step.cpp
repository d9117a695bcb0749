#include "trainer/inspect_step.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "config/parse.h"
#include "config/resolve.h"
#include "schedule/batch_schedule.h"
#include "trainer/run_data.h"

namespace conclave {
namespace {

constexpr size_t kShownBytes = 300;

// Samples that earlier iterations took.
int64_t consumed_before(const Options& options, const BatchSchedule& schedule, int64_t iteration) {
  int64_t consumed = 0;
  if (schedule.is_constant()) return (iteration - 1) * options.training.global_batch_size;
  for (int64_t i = 1; i < iteration; ++i) consumed += schedule.at(consumed).running;
  return consumed;
}

std::string shown(const Tokenizer* tokenizer, std::span<const int32_t> tokens) {
  if (tokenizer != nullptr) {
    std::string text = tokenizer->decode(tokens);
    if (text.size() > kShownBytes) {
      size_t cut = kShownBytes;
      while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0) == 0x80) --cut;  // not inside a character
      text = text.substr(0, cut) + " ...";
    }
    return text;
  }
  std::vector<std::string> ids;
  for (size_t i = 0; i < std::min<size_t>(tokens.size(), 32); ++i) ids.push_back(std::to_string(tokens[i]));
  return join(ids, " ") + (tokens.size() > 32 ? " ..." : "");
}

std::string parts_text(const Json& origin) {
  std::vector<std::string> parts;
  for (const Json& part : origin.at("parts").as_array()) {
    parts.push_back(fmt::format("document {} from token {} ({} tokens)", part.at("document").as_int(),
                                part.at("offset").as_int(), part.at("tokens").as_int()));
  }
  return join(parts, ", ");
}

void describe_batch(const BatchSource& source, const Tokenizer* tokenizer, const MicroBatch& batch, Inspection* out,
                    Json* samples) {
  for (size_t b = 0; b < static_cast<size_t>(batch.batch); ++b) {
    const std::span<const int32_t> tokens(batch.tokens.data() + b * static_cast<size_t>(batch.seq_length),
                                          static_cast<size_t>(batch.seq_length));
    Json origin = source.describe(Split::kTrain, batch.origins[b]);
    const std::string text = shown(tokenizer, tokens);
    out->text += fmt::format("sample {}: {}, {}\n  {}\n", batch.ordinals[b], origin.at("path").as_string(),
                             parts_text(origin), replace_all(text, "\n", "\n  "));
    origin["ordinal"] = batch.ordinals[b];
    origin["text"] = text;
    samples->push_back(std::move(origin));
  }
}

}  // namespace

Inspection inspect_step(const std::string& run_directory, int64_t iteration) {
  const std::string path = run_directory + "/options.yaml";
  CONCLAVE_USER_CHECK(file_exists(path), "'{}' is no run directory: it has no options.yaml", run_directory);
  const Options options = resolved(parse_yaml(read_file(path), path).options);
  CONCLAVE_USER_CHECK(iteration >= 1, "iterations count from 1; got {}", iteration);
  const auto tokenizer = make_run_tokenizer(options.tokenizer, options.model.vocab_size);
  const BatchSource source(run_batch_config(options, tokenizer.get(), run_vocab_size(options, tokenizer.get())));
  const BatchSchedule schedule(options.training, data_parallel_size(options.parallel), options.model.seq_length);
  const int64_t consumed = consumed_before(options, schedule, iteration);
  const int64_t batch_size = schedule.at(consumed).running, micro = options.training.micro_batch_size;
  const auto stream =
      source.stream(Split::kTrain, {.micro_batch_size = micro, .consumed_samples = consumed, .workers = 0});
  Inspection out;
  out.text = fmt::format("iteration {} of '{}': samples {} to {}\n", iteration, run_directory, consumed,
                         consumed + batch_size - 1);
  Json samples = Json::array();
  for (int64_t i = 0; i < batch_size / micro; ++i) {
    const std::optional<MicroBatch> batch = stream->next();
    CONCLAVE_USER_CHECK(batch.has_value(), "the run's data end before iteration {}", iteration);
    describe_batch(source, tokenizer.get(), *batch, &out, &samples);
  }
  out.json = Json::object();
  out.json["iteration"] = iteration;
  out.json["samples"] = samples;
  return out;
}

}  // namespace conclave
