#include "config/resolve.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "config/list_expression.h"
#include "config/pipeline_layout.h"

namespace conclave {
namespace {

void resolve_model(Options& options) {
  ModelOptions& model = options.model;
  if (model.ffn_hidden_size == 0) {
    const bool narrower = model.swiglu || model.geglu;
    model.ffn_hidden_size = narrower ? model.hidden_size * 8 / 3 / 64 * 64 : 4 * model.hidden_size;
  }
  if (model.kv_channels == 0 && model.num_attention_heads > 0) {
    model.kv_channels = model.hidden_size / model.num_attention_heads;
  }
  if (!model.group_query_attention) model.num_query_groups = std::max<int64_t>(model.num_attention_heads, 1);
  if (model.max_position_embeddings == 0) model.max_position_embeddings = model.seq_length;
  if (model.use_rotary_position_embeddings) model.position_embedding_type = "rope";
  if (model.vocab_size > 0 && options.tokenizer.tokenizer_type == "NullTokenizer") {
    auto& eod = options.tokenizer.null_tokenizer_eod_id;
    if (!eod) eod = model.vocab_size - 1;
  }
}

void resolve_moe(MoeOptions& moe, const ModelOptions& model) {
  if (moe.moe_ffn_hidden_size == 0 && moe.num_experts > 0) moe.moe_ffn_hidden_size = model.ffn_hidden_size;
  if (moe.moe_expert_capacity_factor && *moe.moe_expert_capacity_factor < 0) moe.moe_expert_capacity_factor.reset();
  if (moe.moe_enable_deepep && moe.moe_token_dispatcher_type == "flex") moe.moe_flex_dispatcher_backend = "deepep";
}

void resolve_parallel(ParallelOptions& parallel) {
  if (parallel.expert_tensor_parallel_size == 0) {
    parallel.expert_tensor_parallel_size = parallel.tensor_model_parallel_size;
  }
  if (parallel.microbatch_group_size_per_virtual_pipeline_stage == 0) {
    parallel.microbatch_group_size_per_virtual_pipeline_stage = parallel.pipeline_model_parallel_size;
  }
  if (parallel.tensor_model_parallel_size == 1) parallel.sequence_parallel = false;
}

void resolve_memory(MemoryOptions& memory, const MoeOptions& moe) {
  if (memory.recompute_activations && !memory.recompute_granularity) memory.recompute_granularity = "selective";
  if (moe.moe_layer_recompute) {
    if (!memory.recompute_granularity) memory.recompute_granularity = "selective";
    auto& modules = memory.recompute_modules;
    if (std::find(modules.begin(), modules.end(), "moe") == modules.end()) modules.push_back("moe");
  }
  if (memory.recompute_granularity == "selective" && memory.recompute_modules.empty()) {
    memory.recompute_modules = {"core_attn"};
  }
  if (memory.cuda_graph_impl == "none" && memory.enable_cuda_graph) memory.cuda_graph_impl = "local";
  if (memory.cuda_graph_impl == "none" && memory.external_cuda_graph) memory.cuda_graph_impl = "transformer_engine";
  if (memory.cuda_graph_modules == std::vector<std::string>{"full"}) memory.cuda_graph_modules.clear();
  if (memory.cuda_graph_modules == std::vector<std::string>{"full_iteration"}) {
    memory.cuda_graph_modules.clear();
    memory.cuda_graph_impl = "full_iteration";
  }
}

void resolve_training(TrainingOptions& training, const ParallelOptions& parallel) {
  if (training.global_batch_size == 0 && !training.step_batch_size_schedule) {
    training.global_batch_size = training.micro_batch_size * data_parallel_size(parallel);
  }
  if (training.eval_micro_batch_size == 0) training.eval_micro_batch_size = training.micro_batch_size;
  if (training.eval_global_batch_size == 0) training.eval_global_batch_size = training.global_batch_size;
}

}  // namespace

Options resolved(Options options) {
  resolve_model(options);
  resolve_moe(options.moe, options.model);
  resolve_parallel(options.parallel);
  resolve_memory(options.memory, options.moe);
  resolve_training(options.training, options.parallel);
  PrecisionOptions& precision = options.precision;
  if (precision.bf16 && !precision.grad_reduce_in_bf16) precision.accumulate_allreduce_grads_in_fp32 = true;
  return options;
}

int64_t data_parallel_size(const ParallelOptions& parallel) {
  const int64_t ranks =
      parallel.tensor_model_parallel_size * parallel.pipeline_model_parallel_size * parallel.context_parallel_size;
  return std::max<int64_t>(ranks > 0 ? parallel.world_size / ranks : 1, 1);
}

std::string divisors_text(int64_t count) {
  std::vector<std::string> divisors;
  for (int64_t i = 1; i <= count; ++i) {
    if (count % i == 0) divisors.push_back(std::to_string(i));
  }
  return join(divisors, ", ");
}

int64_t virtual_pipeline_size(const Options& options) {
  const ParallelOptions& parallel = options.parallel;
  if (parallel.num_virtual_stages_per_pipeline_rank > 0) return parallel.num_virtual_stages_per_pipeline_rank;
  const int64_t layers = parallel.num_layers_per_virtual_pipeline_stage;
  if (layers > 0) {
    if (parallel.pipeline_model_parallel_size == 1 && layers >= options.model.num_layers) return 1;
    const int64_t ranks = parallel.pipeline_model_parallel_size;
    if (options.model.num_layers % ranks != 0 || options.model.num_layers / ranks % layers != 0) return 0;
    return options.model.num_layers / ranks / layers;
  }
  if (!parallel.pipeline_model_parallel_layout) return 1;
  try {
    const PipelineLayout layout = parse_pipeline_layout(*parallel.pipeline_model_parallel_layout);
    const auto stages = static_cast<int64_t>(layout.stages.size());
    return stages % parallel.pipeline_model_parallel_size == 0 ? stages / parallel.pipeline_model_parallel_size : 0;
  } catch (const UserError&) {
    return 0;
  }
}

bool has_gated_activation(const ModelOptions& model) { return model.swiglu || model.geglu || model.quick_geglu; }

std::vector<bool> moe_layers(const Options& options) {
  if (options.moe.num_experts == 0) return std::vector<bool>(static_cast<size_t>(options.model.num_layers));
  return every_nth_layer(options.moe.moe_layer_freq, options.model.num_layers, "--moe-layer-freq");
}

std::vector<bool> windowed_layers(const Options& options) {
  const ModelOptions& model = options.model;
  const auto layers = static_cast<size_t>(model.num_layers);
  if (model.window_size.empty()) return std::vector<bool>(layers);
  if (!model.window_attn_skip_freq) return std::vector<bool>(layers, true);
  constexpr std::string_view kOption = "--window-attn-skip-freq";
  if (const auto step = parse_int(trim(*model.window_attn_skip_freq))) {
    CONCLAVE_USER_CHECK(*step >= 1, "{} must be at least 1; got {}; leave it out for no exception", kOption, *step);
    std::vector<bool> windowed(layers);
    for (size_t i = 0; i < layers; ++i) windowed[i] = static_cast<int64_t>(i + 1) % *step != 0;
    return windowed;
  }
  return every_nth_layer(*model.window_attn_skip_freq, model.num_layers, kOption);
}

}  // namespace conclave
