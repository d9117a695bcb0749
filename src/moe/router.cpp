#include "moe/router.h"

#include <algorithm>
#include <utility>

#include "kernels/elementwise.h"
#include "kernels/random_logits.h"
#include "kernels/router_sinkhorn.h"
#include "kernels/router_topk.h"
#include "kernels/router_z_loss.h"

namespace conclave {
namespace {

void check_config(const RouterConfig& config) {
  const kernels::RouterRule& rule = config.rule;
  CONCLAVE_CHECK(1 <= rule.topk && rule.topk <= config.experts, "{}: K {} of E {}", config.name, rule.topk,
                 config.experts);
  CONCLAVE_CHECK(!config.expert_bias || config.sinkhorn || rule.score != kernels::ScoreFunction::kSoftmax,
                 "{}: an expert bias goes with sigmoid or sqrtsoftplus", config.name);
  CONCLAVE_CHECK(!config.sinkhorn || (config.balance.empty() && !config.capacity_factor),
                 "{}: sinkhorn goes without balancing losses and capacity", config.name);
  CONCLAVE_CHECK(!config.pad_to_capacity || config.capacity_factor, "{}: padding to no capacity", config.name);
  CONCLAVE_CHECK(config.capacity_factor.value_or(0) >= 0, "{}: capacity factor {}", config.name,
                 config.capacity_factor.value_or(0));
}

RouterConfig without_idle_losses(RouterConfig config) {
  std::erase_if(config.balance, [](const BalanceConfig& loss) { return loss.coefficient == 0; });
  check_config(config);
  return config;
}

std::vector<std::string> names_of(const RouterConfig& config) {
  std::vector<std::string> names;
  for (const BalanceConfig& loss : config.balance) names.emplace_back(balance_loss_name(loss.kind));
  if (config.z_loss != 0) names.emplace_back(kZLossName);
  return names;
}

/// One stream per sequence, also where samples have no numbers (generation).
std::vector<RandomStream> noise_streams(const Context& context, const std::string& name) {
  if (!context.batch.ordinals.empty()) return context.random_streams(name);
  std::vector<RandomStream> streams;
  for (int64_t b = 0; b < context.batch.batch; ++b) streams.emplace_back(context.seed, name, static_cast<uint64_t>(b));
  return streams;
}

}  // namespace

std::string_view balance_loss_name(kernels::BalanceKind kind) {
  switch (kind) {
    case kernels::BalanceKind::kSequence:
      return "seq_load_balancing_loss";
    case kernels::BalanceKind::kGlobal:
      return "global_load_balancing_loss";
    case kernels::BalanceKind::kMicroBatch:
      break;
  }
  return "load_balancing_loss";
}

Router::Router(ParameterStore& store, Device& device, const RouterConfig& config)
    : config_(without_idle_losses(config)),
      gate_(store, config_),
      statistics_(std::make_unique<RoutingStatistics>(device, config_.experts, names_of(config_))) {
  if (config_.expert_bias) store.declare_buffer({config_.name + ".expert_bias", {config_.experts}, DType::kF32});
}

std::vector<std::string> Router::loss_names() const { return names_of(config_); }

Tensor Router::jittered(const Context& context, const Tensor& x) const {
  if (config_.jitter == 0 || !context.training) return x;
  const Tensor out = context.empty(x.shape(), x.dtype(), "router.jitter");
  const std::vector<RandomStream> streams = noise_streams(context, config_.name + ".jitter");
  for (const SequencePiece& piece : context.pieces_outside())
    kernels::jitter(context.stream, {.x = x.slice(piece.begin, piece.begin + piece.size),
                                     .y = out.slice(piece.begin, piece.begin + piece.size),
                                     .epsilon = static_cast<float>(config_.jitter),
                                     .streams = streams,
                                     .sequence_offset = piece.position});
  return out;
}

Routing Router::forward(const Context& context, const SavedTensor& x_saved, const Tensor& x, RouterSaved* saved,
                        RouterInspection* look) const {
  const Tensor logits = gate_.forward(context, jittered(context, x));
  if (context.with_gradient) saved->input = x_saved;
  return route(context, logits, saved, look);
}

void Router::overwrite_with_noise(const Context& context, const Tensor& logits) const {
  if (!config_.forced.on) return;
  kernels::RandomLogitsArgs args{.logits = {}, .streams = noise_streams(context, config_.name + ".noise")};
  const double deviation = config_.forced.bias_deviation;
  if (deviation != 0) {
    args.bias = RandomStream(context.seed, config_.name + ".noise_bias",
                             deviation > 0 ? static_cast<uint64_t>(context.iteration) : 0);
    args.bias_deviation = deviation;
  }
  const int64_t batch = context.batch.batch;
  for (const SequencePiece& piece : context.pieces_outside()) {
    args.logits = logits.slice(piece.begin * batch, (piece.begin + piece.size) * batch);
    args.sequence_offset = piece.position;
    kernels::random_logits(context.stream, args);
  }
}

Routing Router::route(const Context& context, const Tensor& logits, RouterSaved* saved, RouterInspection* look) const {
  CONCLAVE_CHECK(context.pass == Pass::kPlain, "{}: a routing is decided once per micro-batch", config_.name);
  const int64_t tokens = logits.size(0), topk = config_.rule.topk;
  overwrite_with_noise(context, logits);
  context.observe(config_.name + ".logits", logits);
  RouterSaved state;
  state.input = saved != nullptr ? saved->input : SavedTensor();
  state.logits = logits;
  if (context.training) add_z_loss(context, logits, &state, look);
  Routing routing;
  routing.expert_count = config_.experts;
  routing.probs = context.empty({tokens, topk}, kernels::router_probs_dtype(logits.dtype()), "router.probs");
  state.chosen = context.empty({tokens, topk}, DType::kI32, "router.experts");
  choose(context, logits, state.chosen, routing.probs);
  if (replay_ != nullptr) replay_->taken(context, config_.name, state.chosen);
  drop(context, state.chosen, &routing);
  declare(context, &routing);
  if (config_.capacity_factor) state.kept = routing.experts;
  if (context.training) {
    const int64_t micro_batches = statistics_->count_micro_batch(tokens * topk);
    add_balance_losses(context, logits, micro_batches, &state, look);
    count(context, routing);
  }
  if (look != nullptr) {
    look->logits = logits;
    look->map = final_map(context, routing);
  }
  if (context.with_gradient) *saved = state;
  return routing;
}

void Router::add_z_loss(const Context& context, const Tensor& logits, RouterSaved* saved,
                        RouterInspection* look) const {
  if (config_.z_loss == 0) return;
  kernels::ZLossArgs args{.coefficient = config_.z_loss,
                          .logits = logits,
                          .padding = context.batch.padding,
                          .logged = statistics_->loss(config_.balance.size())};
  if (look != nullptr) {
    look->losses.resize(config_.balance.size() + 1);
    look->losses.back() = args.loss = context.empty({1}, DType::kF64, "router.z_loss");
  }
  args.mean_over = saved->z_mean_over = tokens_of_micro_batch(context, logits.size(0));
  kernels::z_loss(context.stream, args);
  saved->z_scale = context.loss_weights.auxiliary;
}

void Router::choose(const Context& context, const Tensor& logits, const Tensor& chosen, const Tensor& probs) const {
  if (config_.sinkhorn) {
    kernels::router_sinkhorn(context.stream, {.topk = config_.rule.topk,
                                              .balance = context.training,
                                              .f64_scores = config_.rule.f64_scores,
                                              .logits = logits,
                                              .experts = chosen,
                                              .probs = probs});
    return;
  }
  kernels::RouterTopkArgs args{.rule = config_.rule, .logits = logits, .experts = chosen, .probs = probs};
  if (config_.expert_bias) args.bias = context.store.buffer(config_.name + ".expert_bias");
  if (replay_ != nullptr) args.forced = replay_->forced(context, config_.name);
  CONCLAVE_USER_CHECK(
      !args.forced.defined() || args.forced.shape() == chosen.shape(),
      "[moe/replay] {}: {} tokens of {} choices are to be replayed, this rank routes {} of {}; give the "
      "options of the run that is replayed",
      config_.name, args.forced.defined() ? args.forced.size(0) : 0, args.forced.defined() ? args.forced.size(1) : 0,
      chosen.size(0), chosen.size(1));
  kernels::router_topk(context.stream, args);
}

int64_t Router::capacity(int64_t tokens) const {
  return kernels::expert_capacity(tokens, config_.rule.topk, config_.experts, *config_.capacity_factor);
}

void Router::drop(const Context& context, const Tensor& chosen, Routing* routing) const {
  routing->experts = chosen;
  if (!config_.capacity_factor) return;
  const int64_t limit = capacity(chosen.size(0));
  routing->experts = context.empty(chosen.shape(), DType::kI32, "router.kept");
  // A limit beyond the tokens drops nothing: no expert can get more rows than there are.
  routing->most_rows = std::min(limit, chosen.size(0));
  if (config_.pad_to_capacity) routing->capacity = limit;
  kernels::router_drop(context.stream, {.policy = config_.drop_policy,
                                        .capacity = limit,
                                        .expert_count = config_.experts,
                                        .chosen = chosen,
                                        .kept = routing->experts,
                                        .probs = routing->probs});
  if (replay_ != nullptr) replay_->kept(context, config_.name, routing->experts);
}

void Router::declare(const Context& context, Routing* routing) const {
  if (!context.device().is_sim()) return;
  const RoutingSizes sizes{routing->experts.size(0), routing->experts.size(1), config_.experts, routing->most_rows};
  // Traces are of training steps.
  routing->declared = load_ != nullptr && context.training
                          ? load_->declare({context.iteration, context.batch.index, config_.name}, sizes)
                          : balanced_routing(sizes);
}

Tensor Router::final_map(const Context& context, const Routing& routing) const {
  const int64_t tokens = routing.experts.size(0);
  const Tensor map = context.empty({tokens, config_.experts}, DType::kU8, "router.map");
  kernels::routing_map(context.stream, {.experts = routing.experts, .map = map});
  if (config_.pad_to_capacity)
    kernels::pad_routing_map(context.stream,
                             {.kind = kernels::MapPadding::kToCapacity, .amount = capacity(tokens), .map = map});
  return map;
}

BalanceSums Router::sum_scores(const Context& context, const Tensor& logits, RouterInspection* look) const {
  const Shape columns{context.batch.batch, config_.experts};
  kernels::BalanceScoresArgs scores{.rule = config_.rule,
                                    .logits = logits,
                                    .padding = context.batch.padding,
                                    .batch = context.batch.batch,
                                    .counts = context.empty(columns, DType::kF32, "router.balance"),
                                    .score_sums = context.empty(columns, DType::kF64, "router.balance")};
  if (look != nullptr) {
    look->losses.resize(loss_names().size());
    look->aux_scores = scores.scores =
        context.empty(logits.shape(), config_.rule.f64_scores ? DType::kF64 : DType::kF32, "router.balance");
    look->aux_map = scores.map = context.empty(logits.shape(), DType::kU8, "router.balance");
  }
  kernels::balance_scores(context.stream, scores);
  return sum_over_micro_batch(context, {scores.counts, scores.score_sums});
}

void Router::add_balance_losses(const Context& context, const Tensor& logits, int64_t micro_batches, RouterSaved* saved,
                                RouterInspection* look) const {
  if (config_.balance.empty()) return;
  const BalanceSums of_micro_batch = sum_scores(context, logits, look);
  saved->slope = context.empty(of_micro_batch.counts.shape(), DType::kF64, "router.slope");
  kernels::fill(context.stream, {.x = saved->slope, .value = 0});
  for (size_t i = 0; i < config_.balance.size(); ++i) {
    const bool global = config_.balance[i].kind == kernels::BalanceKind::kGlobal;
    const BalanceSums sums = global ? sum_over_data(context, of_micro_batch) : of_micro_batch;
    kernels::BalanceLossArgs args{.kind = config_.balance[i].kind,
                                  .topk = config_.rule.topk,
                                  .coefficient = config_.balance[i].coefficient,
                                  .gradient_scale = context.loss_weights.auxiliary,
                                  .counts = sums.counts,
                                  .score_sums = sums.score_sums,
                                  .running_steps = micro_batches,
                                  .slope = saved->slope,
                                  .logged = statistics_->loss(i)};
    if (global) {
      // One loss for the micro-batches that the data-parallel ranks run together: it weighs as much as all of them.
      args.gradient_scale *= static_cast<double>(data_ranks(context));
      args.running = statistics_->running_counts();
      kernels::running_counts(context.stream, {.counts = sums.counts, .previous = args.running, .total = args.running});
    }
    if (look != nullptr) look->losses[i] = args.loss = context.empty({1}, DType::kF64, "router.balance");
    kernels::balance_loss(context.stream, args);
  }
}

void Router::count(const Context& context, const Routing& routing) const {
  kernels::count_choices(context.stream, {.experts = routing.experts, .counts = statistics_->tokens()});
  if (!config_.expert_bias) return;
  const Tensor counts = statistics_->local_tokens(), padding = context.batch.padding;
  if (config_.pad_to_capacity) {
    kernels::count_map(context.stream, {.map = final_map(context, routing), .padding = padding, .counts = counts});
  } else {
    kernels::count_choices(context.stream, {.experts = routing.experts, .padding = padding, .counts = counts});
  }
}

Tensor Router::route_backward(const Context& context, const Tensor& dprobs, const RouterSaved& saved) const {
  const Tensor& logits = saved.logits;
  const Tensor dlogits = context.empty(logits.shape(), logits.dtype(), "router.dlogits");
  if (config_.sinkhorn) {
    kernels::router_sinkhorn_backward(context.stream, {.f64_scores = config_.rule.f64_scores,
                                                       .logits = logits,
                                                       .experts = saved.chosen,
                                                       .dprobs = dprobs,
                                                       .dlogits = dlogits});
  } else {
    kernels::router_topk_backward(context.stream, {.rule = config_.rule,
                                                   .logits = logits,
                                                   .experts = saved.chosen,
                                                   .kept = saved.kept,
                                                   .dprobs = dprobs,
                                                   .dlogits = dlogits});
  }
  if (saved.slope.defined())
    kernels::balance_backward(context.stream, {.rule = config_.rule,
                                               .logits = logits,
                                               .padding = context.batch.padding,
                                               .batch = context.batch.batch,
                                               .slope = saved.slope,
                                               .dlogits = dlogits});
  if (saved.z_scale != 0)
    kernels::z_loss_backward(context.stream, {.coefficient = config_.z_loss,
                                              .gradient_scale = saved.z_scale,
                                              .logits = logits,
                                              .padding = context.batch.padding,
                                              .dlogits = dlogits,
                                              .mean_over = saved.z_mean_over});
  return dlogits;
}

void Router::backward(const Context& context, const Tensor& dprobs, const RouterSaved& saved, const Tensor& dx,
                      RouterInspection* look) const {
  const Tensor dlogits = route_backward(context, dprobs, saved);
  if (look != nullptr) look->dlogits = dlogits;
  if (config_.jitter == 0) {
    gate_.backward(context, dlogits, saved.input, dx);
    return;
  }
  const SavedTensor input([this, context, plain = saved.input] {
    Tensor x = jittered(context, plain.get());
    plain.forget();
    return x;
  });
  const Tensor djittered = context.empty(dx.shape(), dx.dtype(), "router.jitter");
  kernels::fill(context.stream, {.x = djittered, .value = 0});
  gate_.backward(context, dlogits, input, djittered);
  // Jitter is a product with the same noise, forward and backward.
  kernels::scale(context.stream, {.x = jittered(context, djittered), .y = dx, .accumulate = kernels::Accumulate::kAdd});
}

void Router::end_step(const Stream& stream, ParameterStore& store, ProcessGroups& groups) const {
  if (config_.expert_bias) {
    sum_over_step(stream, groups, statistics_->local_tokens(), "router.tokens_per_expert");
    kernels::expert_bias_update(stream, {.counts = statistics_->local_tokens(),
                                         .bias = store.buffer(config_.name + ".expert_bias"),
                                         .rate = config_.bias_update_rate});
  }
  statistics_->end_step(stream);
}

}  // namespace conclave
