#include "proof/layout_check.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/philox.h"
#include "checkpoint/tensor_directory.h"
#include "config/resolve.h"
#include "data/sample.h"
#include "proof/whole_tensors.h"
#include "trainer/engine.h"
#include "trainer/job.h"

namespace conclave::proof {
namespace {

bool has_documents(const DataOptions& data) {
  return data.dataloader_inter_document_masking || data.reset_attention_mask || data.reset_position_ids;
}

// About every sixth token ends a document, which the fields of each sample then keep apart.
void cut_documents(const Options& options, int64_t vocab, const RandomStream& stream, MicroBatch* batch) {
  FieldOptions fields;
  fields.seq_length = options.model.seq_length;
  fields.eod = vocab - 1;
  fields.eod_mask_loss = options.data.eod_mask_loss;
  fields.reset_position_ids = options.data.reset_position_ids;
  fields.reset_attention_mask = options.data.reset_attention_mask;
  fields.inter_document_masking = options.data.dataloader_inter_document_masking;
  const auto length = static_cast<size_t>(options.model.seq_length);
  for (size_t sample = 0; sample < static_cast<size_t>(batch->batch); ++sample) {
    const size_t at = sample * length;
    std::vector<int32_t> text(batch->tokens.begin() + static_cast<int64_t>(at),
                              batch->tokens.begin() + static_cast<int64_t>(at + length));
    text.push_back(batch->labels[at + length - 1]);
    for (size_t i = 0; i < text.size(); ++i) {
      if (stream.uniform(sample * (length + 1) + i) < 1.0f / 6) text[i] = static_cast<int32_t>(fields.eod);
    }
    std::vector<int32_t> bounds = make_fields(text, fields,
                                              {.tokens = std::span(batch->tokens).subspan(at, length),
                                               .labels = std::span(batch->labels).subspan(at, length),
                                               .loss_mask = std::span(batch->loss_mask).subspan(at, length),
                                               .position_ids = std::span(batch->position_ids).subspan(at, length)});
    if (fields.reset_attention_mask || fields.inter_document_masking) batch->cu_seqlens.push_back(std::move(bounds));
  }
}

// Micro-batch `index` of the run, over all data-parallel ranks.
MicroBatch drawn_batch(const Options& options, int64_t vocab, int64_t index) {
  const int64_t size = options.training.micro_batch_size;
  MicroBatch batch = plain_batch(size, options.model.seq_length, index * size);
  const RandomStream tokens(static_cast<uint64_t>(options.training.seed), "layout check", static_cast<uint64_t>(index));
  const auto count = static_cast<uint64_t>(batch.tokens.size());
  const auto draw = [&](uint64_t element) {
    return std::min(static_cast<int32_t>(tokens.uniform(element) * static_cast<float>(vocab)),
                    static_cast<int32_t>(vocab - 1));
  };
  for (uint64_t i = 0; i < count; ++i) {
    batch.tokens[i] = draw(i);
    batch.labels[i] = draw(count + i);
  }
  if (has_documents(options.data)) {
    const RandomStream ends(static_cast<uint64_t>(options.training.seed), "layout check, documents",
                            static_cast<uint64_t>(index));
    cut_documents(options, vocab, ends, &batch);
  }
  for (uint64_t i = 0; i < count; ++i) {
    if (tokens.uniform(2 * count + i) < 0.1f) batch.loss_mask[i] = 0;
  }
  return batch;
}

UpdateRates rates(const Options& options, int64_t step) {
  const double lr = options.optimizer.lr.value_or(1e-3);
  return {.lr = lr, .decoupled_lr = lr, .weight_decay = options.optimizer.weight_decay, .step = step};
}

struct Steps {
  std::vector<double> losses, gradient_norms;
};

template <typename OnGradients>
Steps run_steps(Engine& engine, const Options& options, int64_t vocab, int64_t steps, OnGradients on_gradients) {
  const RankLayout& layout = engine.groups().layout();
  const int64_t ranks = layout.data_size(), own = layout.dense(engine.groups().rank()).data;
  const int64_t count = options.training.global_batch_size / options.training.micro_batch_size / ranks;
  Steps out;
  for (int64_t step = 0; step < steps; ++step) {
    std::vector<MicroBatch> batches;
    for (int64_t i = 0; i < count; ++i)
      batches.push_back(drawn_batch(options, vocab, (step * count + i) * ranks + own));
    StepRequest request{.iteration = step + 1, .rates = rates(options, step + 1), .clip = options.optimizer.clip_grad};
    if (step == 0) request.on_gradients = on_gradients;
    const StepResult result = engine.train_step(batches, request);
    out.losses.push_back(result.lm_loss());
    out.gradient_norms.push_back(result.gradient_norm);
  }
  return out;
}

void keep_whole(Engine& engine, const std::vector<StateTensor>& tensors, WholeTensors* whole) {
  for_each_element(engine, tensors, [&](const StateTensor& state, int64_t index, float value) {
    std::vector<float>& values = (*whole)[state.name];
    if (values.empty()) values.resize(static_cast<size_t>(Shape(state.shard.global_shape).element_count()));
    values[static_cast<size_t>(index)] = value;
  });
}

struct Compared {
  double difference = 0;
  int64_t elements = 0;
};

std::map<std::string, Compared> compare_own(Engine& engine, const std::vector<StateTensor>& tensors,
                                            const WholeTensors& want) {
  std::map<std::string, Compared> out;
  for_each_element(engine, tensors, [&](const StateTensor& state, int64_t index, float value) {
    Compared& compared = out[state.name];
    ++compared.elements;
    const auto found = want.find(state.name);
    if (found == want.end()) return;
    const double off = std::fabs(static_cast<double>(value) - found->second[static_cast<size_t>(index)]);
    // NaN is as far off as can be.
    compared.difference = std::isfinite(off) ? std::max(compared.difference, off) : HUGE_VAL;
  });
  return out;
}

std::string text_of(const std::map<std::string, Compared>& compared) {
  Json json = Json::object();
  for (const auto& [name, one] : compared) {
    Json pair = Json::array();
    pair.push_back(std::isfinite(one.difference) ? one.difference : 1e300);
    pair.push_back(one.elements);
    json[name] = pair;
  }
  return json.dump();
}

// What all ranks found, and whether together they answered for every element.
std::vector<TensorDifference> merged(Engine& engine, const std::map<std::string, Compared>& own,
                                     const WholeTensors& want, double bound, double allowance) {
  Communicator& all = engine.groups().world().all();
  const std::vector<std::string> texts(static_cast<size_t>(all.size()), text_of(own));
  std::map<std::string, Compared> sum;
  for (const std::string& text : exchange_texts(all, engine.device().default_stream(), texts)) {
    const Json json = Json::parse(text, "another rank's comparison");
    for (const auto& [name, pair] : json.as_object()) {
      sum[name].difference = std::max(sum[name].difference, pair.at(0).as_double());
      sum[name].elements += pair.at(1).as_int();
    }
  }
  std::vector<TensorDifference> out;
  for (const auto& [name, values] : want) {
    double largest = 0;
    for (const float value : values) largest = std::max(largest, std::fabs(static_cast<double>(value)));
    const Compared& found = sum[name];
    const double scale = std::max(largest, 1e-12);
    const bool whole = found.elements >= static_cast<int64_t>(values.size());
    out.push_back({name, whole ? found.difference / (bound * scale + allowance) : HUGE_VAL, found.difference / scale});
  }
  for (const auto& [name, found] : sum) {
    if (!want.contains(name)) out.push_back({name + " (not in one process)", HUGE_VAL, HUGE_VAL});
  }
  return out;
}

double off(double got, double want, double bound) {
  const double difference = std::fabs(got - want) / std::max(std::fabs(want), 1e-12) / bound;
  return std::isfinite(difference) ? difference : HUGE_VAL;
}

Options without_layout(const Options& options) {
  Options one = options;
  one.parallel = ParallelOptions{};
  return resolved(one);
}

}  // namespace

TrainingTrace trace_one_process(const Options& options, int64_t vocab, int64_t steps) {
  const Options one = without_layout(options);
  const std::unique_ptr<Device> device = make_device(one.device.device);
  Engine engine(one, vocab, *device, true);
  TrainingTrace trace;
  const Steps ran = run_steps(engine, one, vocab, steps,
                              [&] { keep_whole(engine, engine.store().owned_gradients(), &trace.gradients); });
  trace.losses = ran.losses;
  trace.gradient_norms = ran.gradient_norms;
  keep_whole(engine, engine.store().owned_state(), &trace.weights);
  return trace;
}

LayoutBounds layout_bounds(const Options& options) {
  const bool adam = options.optimizer.optimizer != "sgd";
  if (!options.precision.bf16) return {.rate_share = adam ? 0.05 : 0};
  return {
      .loss = 5e-3, .first_norm = 3e-2, .norm = 5e-2, .gradient = 6e-2, .weight = 1e-2, .rate_share = adam ? 0.6 : 0};
}

std::string LayoutReport::fault() const {
  if (loss_difference > 1) return fmt::format("a loss is off by {:.3g} times the bound", loss_difference);
  if (norm_difference > 1) return fmt::format("a gradient norm is off by {:.3g} times the bound", norm_difference);
  for (const auto& [what, list] : {std::pair{"gradient", &gradients}, std::pair{"weight", &weights}}) {
    for (const TensorDifference& one : *list) {
      if (!(one.difference <= 1))
        return fmt::format("the {} of '{}' is off by {:.3g} of its largest value, {:.3g} times the bound", what,
                           one.name, one.relative, one.difference);
    }
  }
  return "";
}

LayoutReport check_layout(const Options& options, int64_t vocab, World& world, const TrainingTrace& one_process) {
  const std::unique_ptr<Device> device = make_device(options.device.device);
  const std::unique_ptr<ProcessGroups> groups = make_job_groups(options, world);
  Engine engine(options, vocab, *device, true, *groups);
  const LayoutBounds bounds = layout_bounds(options);
  const auto steps = static_cast<int64_t>(one_process.losses.size());
  std::map<std::string, Compared> gradients;
  const Steps ran = run_steps(engine, options, vocab, steps, [&] {
    gradients = compare_own(engine, engine.store().owned_gradients(), one_process.gradients);
  });
  LayoutReport report;
  report.losses = ran.losses;
  report.gradient_norms = ran.gradient_norms;
  for (size_t i = 0; i < ran.losses.size(); ++i) {
    report.loss_difference = std::max(report.loss_difference, off(ran.losses[i], one_process.losses[i], bounds.loss));
    report.norm_difference = std::max(report.norm_difference, off(ran.gradient_norms[i], one_process.gradient_norms[i],
                                                                  i == 0 ? bounds.first_norm : bounds.norm));
  }
  const double rate_sum = options.optimizer.lr.value_or(1e-3) * static_cast<double>(steps);
  report.gradients = merged(engine, gradients, one_process.gradients, bounds.gradient, 1e-9);
  report.weights = merged(engine, compare_own(engine, engine.store().owned_state(), one_process.weights),
                          one_process.weights, bounds.weight, rate_sum * bounds.rate_share);
  return report;
}

}  // namespace conclave::proof
