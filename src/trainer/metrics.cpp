#include "trainer/metrics.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "base/clock.h"
#include "base/error.h"

namespace conclave {
namespace {

constexpr int64_t kMetricsSchema = 1;

// The whole lines at the start of `text`.
std::string_view whole_lines(std::string_view text) {
  const size_t end = text.rfind('\n');
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

// The run id of a file that begins with a sound run line.
std::optional<std::string> run_id_of(std::string_view lines) {
  try {
    const Json first = Json::parse(lines.substr(0, lines.find('\n')), "run line");
    if (const Json* kind = first.find("kind"); kind == nullptr || !kind->is_string() || kind->as_string() != "run")
      return std::nullopt;
    return first.at("run_id").as_string();
  } catch (const UserError&) {
    return std::nullopt;
  }
}

}  // namespace

const double* TrainRecord::loss(const std::string& name) const {
  for (const auto& [key, value] : losses) {
    if (key == name) return &value;
  }
  return nullptr;
}

Json metrics_json(const TrainRecord& record) {
  Json out = Json::object();
  out["kind"] = "train";
  out["iteration"] = record.iteration;
  out["consumed_samples"] = record.consumed_samples;
  for (const auto& [name, value] : record.losses) out[name] = value;
  const auto add = [&](const char* key, const std::optional<double>& value) {
    if (value) out[key] = *value;
  };
  add("grad_norm", record.grad_norm);
  add("learning_rate", record.learning_rate);
  if (record.zeros_in_grad) out["zeros_in_grad"] = *record.zeros_in_grad;
  add("params_norm", record.params_norm);
  add("max_attention_logit", record.max_attention_logit);
  out["skipped"] = record.skipped;
  add("step_ms", record.step_ms);
  add("tokens_per_second", record.tokens_per_second);
  add("tflops", record.tflops);
  if (record.peak_bytes) out["peak_bytes"] = *record.peak_bytes;
  for (const auto& [name, value] : record.extra) out[name] = value;
  return out;
}

Json metrics_json_eval(int64_t iteration, const std::string& split, double lm_loss) {
  Json out = Json::object();
  out["kind"] = "eval";
  out["iteration"] = iteration;
  out["split"] = split;
  out["lm_loss"] = lm_loss;
  out["ppl"] = perplexity(lm_loss);
  return out;
}

Json metrics_json_experts(int64_t iteration, int64_t layer, const std::vector<int64_t>& tokens) {
  Json out = Json::object();
  out["kind"] = "experts";
  out["iteration"] = iteration;
  out["layer"] = layer;
  Json counts = Json::array();
  for (const int64_t count : tokens) counts.push_back(count);
  out["tokens"] = std::move(counts);
  return out;
}

// Written so that NaN stays NaN.
double perplexity(double lm_loss) { return std::exp(lm_loss > 20 ? 20 : lm_loss); }

MetricsWriter::MetricsWriter(const std::string& path, const Run& run) : run_id_(run.run_id) {
  bool begin = true;
  if (file_exists(path)) {
    const std::string text = read_file(path);
    const std::string_view lines = whole_lines(text);
    const std::optional<std::string> id = run_id_of(lines);
    CONCLAVE_USER_CHECK(
        id || lines.empty(),
        "[trainer/metrics] '{}' does not begin with a run line, so it is not ours to append to; move it "
        "away or choose another --save directory",
        path);
    if (id) run_id_ = *id;
    begin = lines.empty();
    CONCLAVE_USER_CHECK(lines.size() == text.size() || ::truncate(path.c_str(), static_cast<off_t>(lines.size())) == 0,
                        "[trainer/metrics] cannot cut off the torn last line of '{}'; check its permissions", path);
  }
  file_ = std::make_unique<OutputFile>(path, OutputFile::Mode::kAppend);
  if (!begin) return;
  Json line = Json::object();
  line["kind"] = "run";
  line["schema"] = kMetricsSchema;
  line["run_id"] = run.run_id;
  line["world_size"] = run.world_size;
  line["layout"] = run.layout;
  write(std::move(line));
}

void MetricsWriter::write(Json record) {
  CONCLAVE_CHECK(record.contains("kind"), "a metrics line without a kind: {}", record.dump());
  if (!record.contains("time")) record["time"] = unix_seconds();
  file_->write(record.dump() + "\n");
}

Metrics read_metrics(const std::string& path) {
  const std::string text = read_file(path);
  std::string_view rest = whole_lines(text);
  Metrics metrics;
  std::map<int64_t, Json> train;
  std::map<std::pair<int64_t, std::string>, Json> eval;
  std::map<std::pair<int64_t, int64_t>, Json> experts;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    try {
      Json record = Json::parse(line, "JSON");
      const std::string kind = record.at("kind").as_string();
      const auto iteration = [&] { return record.at("iteration").as_int(); };
      if (kind == "run") {
        metrics.run = std::move(record);
      } else if (kind == "train") {
        train[iteration()] = record;
      } else if (kind == "eval") {
        eval[{iteration(), record.at("split").as_string()}] = record;
      } else if (kind == "experts") {
        experts[{iteration(), record.at("layer").as_int()}] = record;
      } else {
        metrics.others.push_back(std::move(record));
      }
    } catch (const UserError& error) {
      throw_user(fmt::format("[trainer/metrics] '{}', line {}: {}; remove the line", path, number, error.what()));
    }
  }
  for (auto& [key, record] : train) metrics.train.push_back(std::move(record));
  for (auto& [key, record] : eval) metrics.eval.push_back(std::move(record));
  for (auto& [key, record] : experts) metrics.experts.push_back(std::move(record));
  return metrics;
}

}  // namespace conclave
