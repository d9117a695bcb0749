#include "trainer/recorded_passes.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "kernels/elementwise.h"

namespace conclave {
namespace {

/// Every tensor of a batch, in a fixed order; undefined ones too.
std::vector<Tensor> tensors_of(const DeviceBatch& batch) {
  std::vector<Tensor> out{batch.tokens, batch.info.positions, batch.info.document_starts, batch.info.padding};
  out.insert(out.end(), batch.info.shifted_tokens.begin(), batch.info.shifted_tokens.end());
  const auto add = [&](const LossTargets& targets) {
    out.insert(out.end(), {targets.labels, targets.mask, targets.row_weight});
  };
  add(batch.targets);
  for (const LossTargets& targets : batch.further_targets) add(targets);
  return out;
}

void replace(const Stream& stream, const DeviceBatch& target, const DeviceBatch& source) {
  const std::vector<Tensor> to = tensors_of(target), from = tensors_of(source);
  CONCLAVE_CHECK_EQ(to.size(), from.size(), "tensors of a micro-batch");
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i].defined()) kernels::cast(stream, {.x = from[i], .y = to[i]});
  }
}

/// What keeps the passes of a model from being the same GPU work in every step; empty if nothing does.
std::string hindrance(const Options& options, int64_t ranks) {
  const ModelOptions& model = options.model;
  const MoeOptions& moe = options.moe;
  const auto& losses = moe.moe_router_load_balancing_type;
  if (options.memory.cuda_graph_impl != "full_iteration")
    return fmt::format(
        "whole steps are recorded, by --cuda-graph-scope full_iteration, not parts ({})",
        options.memory.cuda_graph_modules.empty() ? "layers" : join(options.memory.cuda_graph_modules, " "));
  if (ranks > 1) return "this is a job of several ranks";
  if (model.attention_dropout > 0 || model.hidden_dropout > 0) return "dropout is drawn anew in every step";
  if (moe.moe_input_jitter_eps > 0) return "--moe-input-jitter-eps is drawn anew in every step";
  if (moe.moe_router_force_load_balancing) return "--moe-router-force-load-balancing is drawn anew in every step";
  if (std::find(losses.begin(), losses.end(), "global_aux_loss") != losses.end())
    return "global_aux_loss counts micro-batches on the host";
  if (moe.moe_routing_trace_path || moe.moe_routing_replay_path) return "routings are read and written by the host";
  return "";
}

}  // namespace

RecordedPasses::RecordedPasses(Device& device, int64_t sums)
    : device_(device), sums_(Tensor::empty(device, {sums}, DType::kF64, {MemoryCategory::kWorkspace, "loss sums"})) {}

void RecordedPasses::run(std::span<const MicroBatch> micro_batches,
                         const std::function<DeviceBatch(const MicroBatch&)>& upload, const Passes& passes,
                         const std::function<void()>& repeat) {
  const Stream stream = device_.default_stream();
  const MicroBatch& first = micro_batches.front();
  const Sizes sizes{static_cast<int64_t>(micro_batches.size()), first.batch, first.seq_length,
                    !first.cu_seqlens.empty()};
  if (sizes != sizes_) {
    work_.reset();
    batches_.clear();
    sizes_ = sizes;
    steps_ = 0;
  }
  const auto run_passes = [&] {
    kernels::fill(stream, {.x = sums_, .value = 0});
    passes(batches_, sums_);
  };
  if (work_ != nullptr) {
    for (size_t i = 0; i < micro_batches.size(); ++i) replace(stream, batches_[i], upload(micro_batches[i]));
    repeat();
    work_->replay();
    return;
  }
  batches_.clear();
  for (const MicroBatch& batch : micro_batches) batches_.push_back(upload(batch));
  if (steps_++ < kPlainSteps) return run_passes();
  work_ = record_work(device_, run_passes);
  log_info("the passes of a step are recorded as a CUDA graph");
  work_->replay();
}

std::unique_ptr<RecordedPasses> make_recorded_passes(const Options& options, Device& device, int64_t ranks,
                                                     int64_t sums) {
  if (options.memory.cuda_graph_impl == "none" || device.kind() != DeviceKind::kCuda) return nullptr;
  if (const std::string why = hindrance(options, ranks); !why.empty()) {
    log_warning("--cuda-graph-impl {}: nothing is recorded: {}", options.memory.cuda_graph_impl, why);
    return nullptr;
  }
  return std::make_unique<RecordedPasses>(device, sums);
}

}  // namespace conclave
