#include "proof/bench/bench.h"

#include <algorithm>
#include <ctime>
#include <functional>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "kernels/gemm.h"
#include "kernels/op_case.h"
#include "kernels/product_ceiling.h"
#include "proof/bench/random_step.h"
#include "spec/flops.h"

namespace conclave::proof {
namespace {

void measure_ceilings(Device& device, BenchReport& report) {
  report.f32_ceiling = std::max(report.f32_ceiling, kernels::product_ceiling(device, DType::kF32));
  report.bf16_ceiling = std::max(report.bf16_ceiling, kernels::product_ceiling(device, DType::kBF16));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// How the time of a call went, from its first tenth to its last.
std::vector<double> course(const std::vector<double>& times) {
  const auto tenth = static_cast<ptrdiff_t>(times.size() / 10), count = static_cast<ptrdiff_t>(times.size());
  if (tenth < 3) return {};
  std::vector<double> out;
  for (const ptrdiff_t begin : {ptrdiff_t{0}, (count - tenth) / 2, count - tenth})
    out.push_back(median({times.begin() + begin, times.begin() + begin + tenth}));
  return out;
}

// Calls `work` for `seconds` (at least three times) after one call apart.
BenchRow time_work(const std::string& name, Device& device, double seconds, const std::function<void()>& work) {
  work();
  device.allocator().reset_peak();
  const int64_t before = device.allocator().statistics().current_total;
  BenchRow row;
  row.name = name;
  std::vector<double> times;
  const Stopwatch total;
  const std::clock_t processor = std::clock();
  int64_t primitives = kernels::gemm_primitives_created();
  while (times.size() < 3 || total.seconds() < seconds) {
    if (total.seconds() < seconds / 10) primitives = kernels::gemm_primitives_created();
    const Stopwatch watch;
    work();
    device.synchronize();
    times.push_back(watch.seconds());
  }
  row.processor_seconds =
      static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC / static_cast<double>(times.size());
  row.primitives_made = kernels::gemm_primitives_created() - primitives;
  row.course_seconds = course(times);
  row.best_seconds = *std::min_element(times.begin(), times.end());
  row.median_seconds = median(times);
  row.calls = static_cast<int64_t>(times.size());
  row.peak_bytes = device.allocator().statistics().peak_total - before;
  return row;
}

// What one call of `work` on an engine costs, from a run on `sim`.
Cost simulated_cost(const Options& options, int64_t vocab, const std::function<void(Engine&)>& work) {
  const auto sim = make_device("sim");
  Engine engine(options, vocab, *sim, true);
  sim->ledger().reset();
  work(engine);
  return sim->ledger().total();
}

}  // namespace

std::vector<std::string> bench_op_names() {
  std::vector<std::string> names;
  for (const kernels::OpFamily& family : kernels::performance_table()) names.push_back(family.name);
  return names;
}

BenchReport bench_op(const std::string& name, Device& device, double seconds) {
  for (const kernels::OpFamily& family : kernels::performance_table()) {
    if (family.name != name) continue;
    BenchReport report;
    measure_ceilings(device, report);
    for (const kernels::OpCase& op_case : family.cases) {
      const kernels::OpFootprint footprint = kernels::footprint(op_case);
      const kernels::OpTiming timing = kernels::time_case(op_case, device, seconds);
      report.rows.push_back({.name = op_case.name,
                             .best_seconds = timing.best_seconds,
                             .median_seconds = timing.median_seconds,
                             .calls = timing.calls,
                             .cost = footprint.cost,
                             .peak_bytes = footprint.workspace_bytes});
    }
    measure_ceilings(device, report);
    return report;
  }
  throw UserError(fmt::format("conclave bench op {}: no such op; known: {}", name, join(bench_op_names(), " ")));
}

BenchReport bench_layer(const Options& options, int64_t vocab, Device& device, double seconds) {
  const Options one = [&] {
    Options changed = options;
    changed.model.num_layers = 1;
    changed.moe.moe_layer_freq = std::to_string(1);
    return changed;
  }();
  Engine engine(one, vocab, device, true);
  const MicroBatch host = random_step(one, vocab, 0).front();
  BenchReport report;
  measure_ceilings(device, report);
  const auto run = [&](Engine& target, bool backward) {
    const DeviceBatch batch = target.upload(host, 1);
    target.layer_pass(batch, backward);
  };
  for (const bool backward : {false, true}) {
    BenchRow row = time_work(backward ? "layer forward and backward" : "layer forward", device, seconds,
                             [&] { run(engine, backward); });
    row.cost = simulated_cost(one, vocab, [&](Engine& target) { run(target, backward); });
    row.tokens = static_cast<double>(host.batch * host.seq_length);
    report.rows.push_back(row);
  }
  measure_ceilings(device, report);
  return report;
}

BenchReport bench_step(const Options& options, int64_t vocab, Device& device, double seconds) {
  Engine engine(options, vocab, device, true);
  // Other tokens, so other row counts of the experts, in every step.
  constexpr int64_t kKinds = 8;
  std::vector<std::vector<MicroBatch>> kinds;
  for (int64_t i = 0; i < kKinds; ++i) kinds.push_back(random_step(options, vocab, i));
  const auto batches = [&](int64_t step) -> const std::vector<MicroBatch>& {
    return kinds[static_cast<size_t>(step % kKinds)];
  };
  BenchReport report;
  measure_ceilings(device, report);
  int64_t step = 0;
  BenchRow row = time_work("training step", device, seconds, [&] {
    ++step;
    one_step(engine, batches(step), step, options.optimizer.clip_grad);
  });
  row.peak_bytes = device.allocator().statistics().peak_total;
  row.cost = simulated_cost(options, vocab,
                            [&](Engine& target) { one_step(target, batches(1), 1, options.optimizer.clip_grad); });
  row.tokens = static_cast<double>(options.training.global_batch_size * options.model.seq_length);
  const std::vector<int64_t> lengths(static_cast<size_t>(options.training.global_batch_size), options.model.seq_length);
  row.model_flops = exact_step_flops(engine.spec(), lengths);
  report.rows.push_back(row);
  if (!device.is_sim()) {
    StepProfiler profiler(device);
    ++step;
    one_step(engine, batches(step), step, options.optimizer.clip_grad);
    report.profile = profiler.take();
  }
  measure_ceilings(device, report);
  return report;
}

std::string bench_table(const BenchReport& report) {
  std::string out = fmt::format(
      "product ceiling: f32 {:.0f} GFLOP/s, bf16 {:.0f} GFLOP/s\n{:<44} {:>10} {:>10} {:>9} {:>7} {:>7} {:>8} {:>11} "
      "{:>10}\n",
      report.f32_ceiling / 1e9, report.bf16_ceiling / 1e9, "case", "best ms", "median ms", "GFLOP/s", "of f32",
      "of bf16", "GB/s", "peak", "tokens/s");
  for (const BenchRow& row : report.rows) {
    const double rate = row.cost.flops / row.median_seconds;
    out += fmt::format("{:<44} {:>10.3f} {:>10.3f} {:>9.1f} {:>6.1f}% {:>6.1f}% {:>8.1f} {:>11} {:>10}\n", row.name,
                       row.best_seconds * 1e3, row.median_seconds * 1e3, rate / 1e9, 100 * rate / report.f32_ceiling,
                       100 * rate / report.bf16_ceiling, row.cost.bytes / row.median_seconds / 1e9,
                       human_bytes(row.peak_bytes),
                       row.tokens > 0 ? fmt::format("{:.0f}", row.tokens / row.median_seconds) : "");
    if (row.course_seconds.size() == 3)
      out +=
          fmt::format("  {} calls; median of the first tenth {:.3f} ms, the middle {:.3f}, the last {:.3f}\n",
                      row.calls, row.course_seconds[0] * 1e3, row.course_seconds[1] * 1e3, row.course_seconds[2] * 1e3);
    if (row.model_flops > 0)
      out += fmt::format("  products of the model: {:.1f} TFLOP a step, {:.1f} TFLOP/s\n", row.model_flops * 1e-12,
                         row.model_flops / row.median_seconds * 1e-12);
    if (row.primitives_made >= 0)
      out += fmt::format("  oneDNN primitives made after the first tenth: {}\n", row.primitives_made);
  }
  if (!report.profile.ops.empty()) out += profile_table(report.profile);
  return out;
}

Json bench_json(const BenchReport& report) {
  Json json = Json::object();
  json["f32_ceiling_flops"] = report.f32_ceiling;
  json["bf16_ceiling_flops"] = report.bf16_ceiling;
  Json rows = Json::array();
  for (const BenchRow& row : report.rows) {
    Json entry = Json::object();
    entry["name"] = row.name;
    entry["best_seconds"] = row.best_seconds;
    entry["median_seconds"] = row.median_seconds;
    entry["calls"] = row.calls;
    entry["flops"] = row.cost.flops;
    entry["bytes"] = row.cost.bytes;
    entry["peak_bytes"] = row.peak_bytes;
    if (row.model_flops > 0) entry["model_flops"] = row.model_flops;
    if (row.processor_seconds > 0) entry["processor_seconds"] = row.processor_seconds;
    if (row.primitives_made >= 0) entry["primitives_made"] = row.primitives_made;
    if (row.course_seconds.size() == 3) {
      entry["first_tenth_seconds"] = row.course_seconds[0];
      entry["middle_tenth_seconds"] = row.course_seconds[1];
      entry["last_tenth_seconds"] = row.course_seconds[2];
    }
    if (row.tokens > 0) entry["tokens_per_second"] = row.tokens / row.median_seconds;
    rows.push_back(std::move(entry));
  }
  json["rows"] = rows;
  return json;
}

}  // namespace conclave::proof
