#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "checkpoint/directory.h"
#include "checkpoint/reader.h"
#include "trainer/inspect.h"
#include "trainer/iteration_line.h"
#include "trainer/metrics.h"
#include "trainer/text_table.h"

namespace conclave {
namespace {

constexpr size_t kShownLines = 12;

// A number of a metrics line; NaN and infinity are written as strings.
std::optional<double> number_in(const Json& record, const char* key) {
  const Json* value = record.find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->as_double();
  if (value->is_string()) return value->as_string() == "NaN" ? std::nan("") : HUGE_VAL;
  return std::nullopt;
}

std::string cell(const Json& record, const char* key, int digits) {
  const std::optional<double> value = number_in(record, key);
  return value ? fmt::format("{:.{}g}", *value, digits) : "";
}

void add_checkpoints(const std::string& directory, Inspection& out) {
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  for (const int64_t iteration : list_checkpoints(directory)) {
    Json entry = Json::object();
    entry["iteration"] = iteration;
    try {
      const CheckpointReader reader(directory + "/" + checkpoint_name(iteration));
      entry["bytes"] = reader.tensor_bytes();
      entry["time"] = reader.time();
      rows.push_back({std::to_string(iteration), human_bytes(reader.tensor_bytes()),
                      std::to_string(reader.world_size()), local_timestamp(reader.time())});
    } catch (const UserError& error) {
      entry["fault"] = error.what();
      out.sound = false;
      rows.push_back({std::to_string(iteration), "damaged", "", ""});
    }
    list.push_back(std::move(entry));
  }
  out.json["checkpoints"] = std::move(list);
  if (rows.empty()) {
    out.text += "  no complete checkpoint\n";
    return;
  }
  const std::string latest_file = directory + "/" + kLatestFile;
  if (file_exists(latest_file)) {
    const std::string latest(trim(read_file(latest_file)));
    out.json["latest"] = latest;
    out.text += fmt::format("  latest checkpoint: {}\n", latest);
  }
  out.text += fmt::format("\n{}", text_table({">iteration", ">bytes", ">ranks", "written"}, rows));
}

// Evenly spaced lines, the last one always.
void add_training(const Metrics& metrics, Inspection& out) {
  if (metrics.train.empty()) return;
  const size_t count = metrics.train.size(), shown = std::min(count, kShownLines);
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < shown; ++i) {
    const Json& record = metrics.train[shown == 1 ? count - 1 : i * (count - 1) / (shown - 1)];
    rows.push_back({std::to_string(record.at("iteration").as_int()), cell(record, "lm_loss", 6),
                    cell(record, "grad_norm", 4), cell(record, "learning_rate", 4),
                    cell(record, "tokens_per_second", 5), cell(record, "step_ms", 5)});
  }
  int64_t skipped = 0;
  for (const Json& record : metrics.train) {
    if (const Json* value = record.find("skipped"); value != nullptr && value->is_int()) skipped += value->as_int();
  }
  out.json["train_lines"] = static_cast<int64_t>(count);
  out.json["first"] = metrics.train.front();
  out.json["last"] = metrics.train.back();
  out.json["skipped"] = skipped;
  out.text += fmt::format(
      "\n{}",
      text_table({">iteration", ">lm loss", ">grad norm", ">learning rate", ">tokens/s", ">ms per step"}, rows));
  if (skipped > 0) out.text += fmt::format("  {} steps were skipped\n", skipped);
}

void add_evaluations(const Metrics& metrics, Inspection& out) {
  if (metrics.eval.empty()) return;
  std::vector<std::vector<std::string>> rows;
  const size_t first = metrics.eval.size() > kShownLines ? metrics.eval.size() - kShownLines : 0;
  Json list = Json::array();
  for (size_t i = 0; i < metrics.eval.size(); ++i) {
    const Json& record = metrics.eval[i];
    list.push_back(record);
    if (i < first) continue;
    rows.push_back({std::to_string(record.at("iteration").as_int()), record.at("split").as_string(),
                    cell(record, "lm_loss", 6), cell(record, "ppl", 5)});
  }
  out.json["eval"] = std::move(list);
  out.text += fmt::format("\n{}", text_table({">iteration", "split", ">lm loss", ">perplexity"}, rows));
}

// The load of the experts in the newest interval that has it.
void add_experts(const Metrics& metrics, Inspection& out) {
  if (metrics.experts.empty()) return;
  const int64_t newest = metrics.experts.back().at("iteration").as_int();
  std::vector<std::vector<std::string>> rows;
  Json list = Json::array();
  for (const Json& record : metrics.experts) {
    if (record.at("iteration").as_int() != newest) continue;
    list.push_back(record);
    int64_t total = 0, most = 0, dead = 0;
    const Json::Array& tokens = record.at("tokens").as_array();
    for (const Json& count : tokens) {
      total += count.as_int();
      most = std::max(most, count.as_int());
      if (count.as_int() == 0) ++dead;
    }
    double entropy = 0;
    for (const Json& count : tokens) {
      const double share = total == 0 ? 0 : count.as_double() / static_cast<double>(total);
      if (share > 0) entropy -= share * std::log(share);
    }
    const auto experts = static_cast<double>(tokens.size());
    rows.push_back(
        {std::to_string(record.at("layer").as_int()), std::to_string(tokens.size()), std::to_string(total),
         fmt::format("{:.2f}", total == 0 ? 0 : static_cast<double>(most) * experts / static_cast<double>(total)),
         fmt::format("{:.3f}", experts > 1 ? entropy / std::log(experts) : 1.0), std::to_string(dead)});
  }
  out.json["experts"] = std::move(list);
  out.text += fmt::format("\nload of the experts at iteration {}\n{}", newest,
                          text_table({">layer", ">experts", ">assignments", ">max/mean", ">entropy", ">dead"}, rows));
}

void add_events(const Metrics& metrics, Inspection& out) {
  Json list = Json::array();
  std::string lines;
  for (const Json& record : metrics.others) {
    list.push_back(record);
    if (record.at("kind").as_string() != "event") continue;
    const Json *what = record.find("what"), *text = record.find("text");
    lines += fmt::format("  {}: {}\n", what == nullptr ? "event" : what->dump(), text == nullptr ? "" : text->dump());
  }
  out.json["events"] = std::move(list);
  if (!lines.empty()) out.text += fmt::format("\nevents\n{}", lines);
}

}  // namespace

Inspection inspect_run(const std::string& run_directory) {
  Inspection out;
  out.json["run"] = run_directory;
  out.text = fmt::format("run {}\n", run_directory);
  const std::string path = run_directory + "/metrics.jsonl";
  const bool has_metrics = file_exists(path);
  const Metrics metrics = has_metrics ? read_metrics(path) : Metrics();
  if (metrics.run.is_object()) {
    out.json["run_id"] = metrics.run.at("run_id");
    if (const Json* size = metrics.run.find("world_size")) out.json["world_size"] = *size;
    out.text += fmt::format("  run id {}\n", metrics.run.at("run_id").as_string());
  }
  if (!has_metrics) out.text += "  no metrics.jsonl\n";
  add_checkpoints(run_directory, out);
  add_training(metrics, out);
  add_evaluations(metrics, out);
  add_experts(metrics, out);
  add_events(metrics, out);
  return out;
}

}  // namespace conclave
