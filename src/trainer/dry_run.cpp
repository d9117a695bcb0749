#include "trainer/dry_run.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "config/resolve.h"
#include "config/validate.h"
#include "schedule/pipeline_drawing.h"
#include "trainer/text_table.h"
#include "trainer/training_run.h"

namespace conclave {
namespace {

std::optional<int64_t> environment_number(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == 0) return std::nullopt;
  const std::optional<int64_t> number = parse_int(text);
  constexpr int64_t kMost = 1'000'000;
  if (!number || *number < 0 || *number > kMost)
    throw UsageError(fmt::format("{} of the environment must be a whole number up to a million; got '{}'; give --{} N",
                                 name, text, std::string_view(name) == "RANK" ? "rank" : "world-size"));
  return number;
}

// Nothing is read from where a run would, nothing written.
void leave_files_alone(Options* options) {
  const CheckpointOptions untouched;
  options->checkpoint = untouched;
  options->logging.tensorboard_dir.reset();
  options->logging.log_progress = false;
  options->training.eval_iters = 0;
  options->training.full_validation = false;
  options->training.result_rejected_tracker_filename.reset();
  options->training.iterations_to_skip.clear();
  options->moe.moe_use_upcycling = false;
  const TokenizerOptions& tokenizer = options->tokenizer;
  if (options->model.vocab_size > 0 || !tokenizer.tokenizer_model) return;
  CONCLAVE_USER_CHECK(file_exists(*tokenizer.tokenizer_model) || is_directory(*tokenizer.tokenizer_model),
                      "--tokenizer-model '{}' is not there, and nothing else tells the size of the vocabulary; add "
                      "--vocab-size N",
                      *tokenizer.tokenizer_model);
}

// The options of one rank's dry run.
ParsedOptions rank_options(ParsedOptions parsed, int64_t rank) {
  Options& options = parsed.options;
  // Another device, asked for beside --fake-process-group, is a contradiction.
  if (!options.parallel.fake_process_group || !parsed.was_given("device")) options.device.device = "sim";
  options.parallel.fake_process_group = true;
  options.parallel.world_size = options.pretended.world_size.value_or(options.parallel.world_size);
  options.pretended.world_size = options.parallel.world_size;
  options.pretended.rank = rank;
  const std::vector<std::string> problems = option_contradictions(parsed, Command::kTrain);
  if (!problems.empty()) throw UsageError(join(problems, "\n"));
  leave_files_alone(&options);
  TrainingOptions& training = options.training;
  training.rampup_batch_size.clear();  // the whole batch at once
  if (training.exit_interval == 0) training.exit_interval = kDryRunSteps;
  training.skip_train = false;
  return parsed;
}

std::vector<RankReport::GroupTraffic> traffic_of(const World& world) {
  std::vector<RankReport::GroupTraffic> out;
  for (const auto& group : world.groups()) {
    const int64_t bytes = group->traffic().total().bytes_sent;
    if (bytes > 0) out.push_back({group->group(), group->size(), bytes});
  }
  return out;
}

std::string layers_of_stage(const Options& options, int64_t stage) {
  const std::string all =
      placement_text(place_layers(placement_args(options)), options.parallel.pipeline_model_parallel_size);
  const std::string line = split(all, '\n').at(static_cast<size_t>(stage));
  const size_t colon = line.find(": ");
  return colon == std::string::npos ? line : line.substr(colon + 2);
}

class QuietThread {
 public:
  QuietThread() { set_quiet_thread(true); }
  ~QuietThread() { set_quiet_thread(false); }
};

// Scratch of CPU kernels grows with their threads: those of the pretended rank, not of this machine.
class RankThreads {
 public:
  explicit RankThreads(int64_t threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(static_cast<int>(std::max<int64_t>(threads, 1)));
  }
  ~RankThreads() { omp_set_num_threads(before_); }

 private:
  int before_;
};

std::string teraflops(double flops) { return fmt::format("{:.3f}", flops / 1e12); }

}  // namespace

ParsedOptions pretended_job(ParsedOptions parsed) {
  PretendedOptions& job = parsed.options.pretended;
  if (!job.world_size) job.world_size = environment_number("WORLD_SIZE");
  if (!job.rank) job.rank = environment_number("RANK");
  if (!job.world_size)
    throw UsageError(
        "--fake-process-group needs to know how many ranks there are; neither --world-size nor WORLD_SIZE of the "
        "environment is given; add --world-size N");
  if (!job.rank) job.rank = 0;
  return parsed;
}

RankReport dry_run(const ParsedOptions& parsed, int64_t rank) {
  const ParsedOptions options = rank_options(parsed, rank);
  const std::unique_ptr<World> world = make_sim_world(rank, options.options.parallel.world_size);
  const RankThreads threads(options.options.device.threads);
  TrainingRun run(options, *world);
  run.run();
  RankReport report;
  report.rank = rank;
  report.world_size = world->size();
  report.stage = run.engine().groups().layout().dense(rank).pipeline;
  report.layers = layers_of_stage(resolved(options.options), report.stage);
  report.memory = run.engine().device().allocator().statistics();
  report.names_at_peak = run.engine().device().allocator().names_at_peak();
  report.step = run.engine().device().ledger().total();
  report.traffic = traffic_of(*world);
  return report;
}

std::vector<RankReport> dry_run_stages(const ParsedOptions& parsed) {
  const ParsedOptions options = rank_options(parsed, 0);
  const RankLayout layout(layout_sizes(resolved(options.options)));
  const QuietThread quiet;
  std::vector<RankReport> reports;
  for (const int64_t rank : layout.group(GroupKind::kPipeline, layout.place(GroupKind::kPipeline, 0)->index))
    reports.push_back(dry_run(parsed, rank));
  return reports;
}

std::string rank_report_text(const RankReport& report) {
  std::string out = fmt::format("rank {} of {}, pipeline stage {}: {}\n\n", report.rank, report.world_size,
                                report.stage, report.layers);
  std::vector<std::vector<std::string>> rows;
  for (int i = 0; i < kMemoryCategoryCount; ++i) {
    const auto index = static_cast<size_t>(i);
    rows.push_back({std::string(memory_category_name(static_cast<MemoryCategory>(i))),
                    human_bytes(report.memory.at_peak[index]), human_bytes(report.memory.category_peak[index])});
  }
  rows.push_back({"total", human_bytes(report.memory.peak_total), ""});
  out += text_table({"memory", ">at peak", ">own peak"}, rows);
  std::vector<std::pair<std::string, int64_t>> names(report.names_at_peak.begin(), report.names_at_peak.end());
  std::stable_sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  constexpr size_t kShown = 16;
  if (names.size() > kShown) names.resize(kShown);
  rows.clear();
  for (const auto& [name, bytes] : names) {
    if (bytes > 0) rows.push_back({name, human_bytes(bytes)});
  }
  out += "\n" + text_table({"largest at peak", ">bytes"}, rows);
  rows.clear();
  for (const RankReport::GroupTraffic& group : report.traffic)
    rows.push_back({group.group, std::to_string(group.size), human_bytes(group.bytes_sent)});
  if (!rows.empty()) out += "\n" + text_table({"group", ">ranks", ">sent in a step"}, rows);
  return out +
         fmt::format("\n{} TFLOP in a step, peak {} bytes\n", teraflops(report.step.flops), report.memory.peak_total);
}

std::string rank_reports_table(const std::vector<RankReport>& reports) {
  std::vector<std::string> headings = {">stage", ">rank"};
  for (int i = 0; i < kMemoryCategoryCount; ++i)
    headings.push_back(">" + std::string(memory_category_name(static_cast<MemoryCategory>(i))));
  headings.insert(headings.end(), {">peak", ">TFLOP/step", "holds"});
  std::vector<std::vector<std::string>> rows;
  std::array<int64_t, kMemoryCategoryCount> largest{};
  int64_t peak = 0;
  double flops = 0;
  const auto add = [&](std::vector<std::string> row, const auto& bytes, int64_t total, double work,
                       const std::string& holds) {
    for (const int64_t one : bytes) row.push_back(human_bytes(one));
    row.insert(row.end(), {human_bytes(total), teraflops(work), holds});
    rows.push_back(std::move(row));
  };
  for (const RankReport& report : reports) {
    const MemoryStatistics& memory = report.memory;
    add({std::to_string(report.stage), std::to_string(report.rank)}, memory.at_peak, memory.peak_total,
        report.step.flops, report.layers);
    for (size_t i = 0; i < largest.size(); ++i) largest[i] = std::max(largest[i], memory.at_peak[i]);
    peak = std::max(peak, memory.peak_total);
    flops = std::max(flops, report.step.flops);
  }
  add({"max", ""}, largest, peak, flops, "");
  return text_table(headings, rows);
}

}  // namespace conclave
