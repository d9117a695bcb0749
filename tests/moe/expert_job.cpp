#include "moe/expert_job.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/philox.h"
#include "comm/world.h"
#include "kernels/op_case.h"
#include "moe/keep_everything.h"
#include "nn/given_store.h"

namespace conclave {
namespace {

/// Rows [begin, begin + rows) of a made-up matrix of `width` columns.
std::vector<double> rows_of(const char* name, int64_t begin, int64_t rows, int64_t width) {
  const RandomStream source(7, name);
  std::vector<double> out;
  for (int64_t i = begin * width; i < (begin + rows) * width; ++i)
    out.push_back(static_cast<double>(source.normal(static_cast<uint64_t>(i))));
  return out;
}

class JobRun {
 public:
  JobRun(const ExpertJob& job, Device& device, ProcessGroups& groups, int64_t first_token, int64_t tokens)
      : job_(job),
        device_(device),
        groups_(groups),
        store_(device, job.dtype),
        experts_(store_, config()),
        first_token_(first_token),
        tokens_(tokens) {
    store_.allocate(0);
    if (device.is_sim()) return;
    for (const Parameter* parameter : store_.parameters()) {
      const ParameterSpec& spec = parameter->spec;
      const RandomStream source(7, spec.name);
      std::vector<double> values;
      for (int64_t i = 0; i < spec.shard.element_count(); ++i)
        values.push_back(0.3 * static_cast<double>(source.normal(static_cast<uint64_t>(spec.shard.global_index(i)))));
      kernels::write_values(store_.weight(spec.name), values);
    }
  }

  std::vector<double> send_payload(const DispatchConfig& dispatch, DType dtype, int64_t width) {
    const Context context = make_context();
    const auto plan = plan_dispatch(context, dispatch, routing());
    std::vector<double> values = rows_of("payload", first_token_, tokens_, width);
    for (double& value : values) value = std::fmod(std::floor(std::fabs(value) * 1000), 201);
    return kernels::read_values(plan->to_experts(context, filled({tokens_, width}, dtype, values), {"payload", {}}));
  }

  ExpertJobResult run(const DispatchConfig& dispatch) {
    const Context context = make_context();
    const Tensor x = matrix("x", job_.hidden), dy = matrix("dy", job_.hidden);
    const auto plan = plan_dispatch(context, dispatch, routing());
    ExpertsSaved saved;
    const ExpertRows rows{SavedTensor(plan->to_experts(context, x, {"rows", {}})), plan->offsets(), plan->row_weight()};
    const Tensor out = plan->to_tokens(context, experts_.forward(context, rows, &saved), {"rows", {}});
    const ExpertsGradient gradient = experts_.backward(context, plan->to_experts(context, dy, {"rows", {}}), saved);
    const Tensor dprobs = plan->choices_to_tokens(context, gradient.row_weight);
    const Tensor dx = plan->to_tokens(context, gradient.rows, {"rows", {}});
    ExpertJobResult result;
    if (device_.is_sim()) return result;
    result.out = kernels::read_values(out);
    result.dx = kernels::read_values(dx);
    result.dprobs = kernels::read_values(dprobs);
    result.offsets = kernels::read_values(plan->offsets());
    for (const Parameter* parameter : store_.parameters()) {
      const ParameterSpec& spec = parameter->spec;
      const std::vector<double> values = kernels::read_values(store_.gradient(spec.name));
      for (size_t i = 0; i < values.size(); ++i)
        result.gradients[spec.name][spec.shard.global_index(static_cast<int64_t>(i))] = values[i];
    }
    return result;
  }

 private:
  const ExpertJob& job_;
  Device& device_;
  ProcessGroups& groups_;
  GivenStore store_;
  Experts experts_;
  int64_t first_token_, tokens_;
  WeightGradientQueue queue_;
  KeepEverything policy_;
  BatchInfo batch_;

  Context make_context() {
    return {.stream = device_.default_stream(),
            .store = store_,
            .weight_gradients = queue_,
            .save_policy = policy_,
            .batch = batch_,
            .training = true,
            .with_gradient = true,
            .groups = &groups_};
  }
  ExpertsConfig config() const {
    return {.name = "experts",
            .experts = job_.experts,
            .hidden = job_.hidden,
            .width = job_.width,
            .expert = groups_.part().expert,
            .expert_tensor = groups_.part().expert_tensor,
            .bias = job_.bias};
  }
  Tensor filled(const Shape& shape, DType dtype, const std::vector<double>& values) const {
    const Tensor out = Tensor::empty(device_, shape, dtype, {});
    if (!device_.is_sim()) kernels::write_values(out, values);
    return out;
  }
  Tensor matrix(const char* name, int64_t width) const {
    return filled({tokens_, width}, job_.dtype, rows_of(name, first_token_, tokens_, width));
  }
  Routing routing() const {
    const auto begin = job_.choices.begin() + first_token_ * job_.topk;
    const std::vector<double> choices(begin, begin + tokens_ * job_.topk);
    std::vector<double> probs = rows_of("probs", first_token_, tokens_, job_.topk);
    for (size_t i = 0; i < probs.size(); ++i) probs[i] = choices[i] < 0 ? 0 : probs[i];
    Routing out;
    out.experts = filled({tokens_, job_.topk}, DType::kI32, choices);
    out.probs = filled({tokens_, job_.topk}, DType::kF32, probs);
    out.expert_count = job_.experts;
    out.capacity = job_.capacity * (tokens_ / job_.tokens);
    return out;
  }
};

int64_t source_of(const ProcessGroups& groups) {
  const ModelPart& part = groups.part();
  return part.expert_tensor.rank * part.expert.size + part.expert.rank;
}

}  // namespace

void ExpertJob::choose(const std::string& seed, const std::function<bool(int64_t, int64_t)>& allowed) {
  const RandomStream source(5, seed);
  uint64_t draw = 0;
  choices.clear();
  for (int64_t t = 0; t < ranks() * tokens; ++t) {
    std::vector<int64_t> order;
    for (int64_t e = 0; e < experts; ++e)
      if (allowed(t / tokens, e)) order.push_back(e);
    for (size_t k = 0; k < static_cast<size_t>(topk); ++k) {
      if (k < order.size()) std::swap(order[k], order[k + source.bits(draw++) % (order.size() - k)]);
      choices.push_back(k < order.size() ? static_cast<double>(order[k]) : -1.0);
    }
  }
}

void ExpertJob::drop_beyond(int64_t limit) {
  std::map<std::pair<int64_t, int64_t>, int64_t> count;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] < 0) continue;
    const int64_t source = static_cast<int64_t>(i) / topk / tokens;
    if (++count[{source, static_cast<int64_t>(choices[i])}] > limit) choices[i] = -1;
  }
}

ExpertJobResult run_on_one_rank(const ExpertJob& job) {
  const auto device = make_device("cpu");
  return JobRun(job, *device, ProcessGroups::single(), 0, job.ranks() * job.tokens).run({});
}

ExpertJobResult run_on_rank(const ExpertJob& job, const DispatchConfig& config, Device& device, ProcessGroups& groups) {
  return JobRun(job, device, groups, source_of(groups) * job.tokens, job.tokens).run(config);
}

namespace {

/// Calls body(groups, device, source) on each rank.
void on_threads(const ExpertJob& job, const std::function<void(ProcessGroups&, Device&, size_t)>& body) {
  const CommSettings settings{.check_collectives = true, .timeout_seconds = 60};
  run_ranks_as_threads({.ranks = job.ranks(), .settings = settings}, [&](World& world) {
    LayoutSizes sizes;
    sizes.world = job.ranks();
    sizes.expert = job.expert_ranks;
    sizes.expert_tensor = job.tensor_ranks;
    sizes.ranks_per_node = job.ranks_per_node;
    ProcessGroups groups(RankLayout(sizes), world, false);
    const auto device = make_device("cpu");
    body(groups, *device, static_cast<size_t>(source_of(groups)));
  });
}

}  // namespace

std::vector<ExpertJobResult> run_on_threads(const ExpertJob& job, const DispatchConfig& config,
                                            const std::function<void(ProcessGroups&)>& after) {
  std::vector<ExpertJobResult> results(static_cast<size_t>(job.ranks()));
  on_threads(job, [&](ProcessGroups& groups, Device& device, size_t source) {
    results[source] = run_on_rank(job, config, device, groups);
    if (after) after(groups);
  });
  return results;
}

std::vector<std::vector<double>> payload_at_experts(const ExpertJob& job, const DispatchConfig& config, DType dtype,
                                                    int64_t width) {
  std::vector<std::vector<double>> results(static_cast<size_t>(job.ranks()));
  on_threads(job, [&](ProcessGroups& groups, Device& device, size_t source) {
    const auto first = static_cast<int64_t>(source) * job.tokens;
    results[source] = JobRun(job, device, groups, first, job.tokens).send_payload(config, dtype, width);
  });
  return results;
}

}  // namespace conclave
