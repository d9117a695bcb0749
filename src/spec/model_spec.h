// What a model is: its layers listed one by one, with everything that decides shapes and mathematics. Pure data; no
// memory, no device. Hybrid models are lists whose entries differ. Words that name a choice (activation, score
// function, ...) are the option's own values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/options.h"

namespace conclave {

enum class PositionKind { kNone, kLearned, kRope };
enum class NormFamily { kRmsNorm, kLayerNorm };
enum class FfnKind { kDense, kMoe };
enum class RopeScaling { kNone, kLlama3, kYarn };

struct NormSpec {
  NormFamily family = NormFamily::kRmsNorm;
  double epsilon = 1e-5;
  bool one_plus = false;  ///< weight stored minus one
};

/// Rotary frequencies of `rotated` elements of a head: inv_freq[i] = base^(-2i/rotated) / interpolation, then scaling.
/// kLlama3 (Llama 3.1): low frequencies divided by the factor, high ones kept, a ramp between. kYarn (Peng et al.
/// 2023): the same by rotations over the original length, and cosines and sines are multiplied.
struct RopeSpec {
  double base = 10000;
  int64_t rotated = 0;  ///< elements per head, even
  bool interleaved = false;
  double interpolation = 1;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1;
  int64_t original_length = 8192;
  double low_frequency = 1, high_frequency = 4;  ///< kLlama3: bounds, as original length / wavelength
  double beta_fast = 32, beta_slow = 1;          ///< kYarn: bounds, as rotations over the original length
  bool whole_bounds = true;                      ///< kYarn: bounds are rounded outwards
  double attention_factor = 1;                   ///< multiplies cosines and sines
  /// [rotated/2].
  std::vector<float> frequencies() const;
};

/// 0.1 * scale * ln(factor) + 1 for factors above 1, else 1: YaRN's temperature.
double yarn_mscale(double factor, double scale);

/// Latent attention (DeepSeek-V2): keys and values come from a latent of kv_rank elements; `rotated` elements of each
/// query head and of one key that all heads share carry the rotation.
struct LatentSpec {
  int64_t q_rank = 0;  ///< 0: queries come straight from the input
  int64_t kv_rank = 0;
  int64_t plain = 0;  ///< elements of a query or key head without rotation
  int64_t rotated = 0;
  int64_t value = 0;   ///< elements of a value head
  bool norms = false;  ///< of the latents there are
  double epsilon = 1e-5;
  bool down_bias = false;
  double mscale = 1;  ///< its square multiplies the softmax scale
};

/// Multi-head attention with n query heads over g key/value heads of D elements; or latent attention.
struct AttentionSpec {
  int64_t heads = 0;     ///< n
  int64_t groups = 0;    ///< g
  int64_t head_dim = 0;  ///< D
  int64_t window = 0;    ///< keys a query sees, itself included; 0 = all before it
  bool qkv_bias = false;
  bool projection_bias = false;
  bool qk_norm = false;
  double dropout = 0;
  std::string softmax = "vanilla";  ///< vanilla; off-by-one: 1 more in the denominator; learnable: e^(one per head)
  std::optional<RopeSpec> rope;
  std::optional<LatentSpec> latent;  ///< then head_dim is plain + rotated and groups are heads
  double softmax_scale() const;
  /// Elements of a value head.
  int64_t value_dim() const { return latent ? latent->value : head_dim; }
};

/// A feed-forward network [H -> F -> H].
struct MlpSpec {
  int64_t width = 0;       ///< F
  std::string activation;  ///< gelu, gelu_tanh, silu, relu, squared_relu, swiglu, geglu, geglu_tanh, quick_geglu
  bool gated = false;
  bool bias = false;
  double clamp = 0;
  double linear_offset = 0;
};

struct BalanceSpec {
  std::string kind;  ///< aux_loss, seq_aux_loss, global_aux_loss
  double coefficient = 0;
};

struct RouterSpec {
  int64_t experts = 0;  ///< E
  int64_t topk = 0;     ///< K
  std::string score_function = "softmax";
  bool pre_softmax = false;
  bool sinkhorn = false;
  double scaling_factor = 0;
  int64_t groups = 0;
  int64_t group_topk = 0;
  std::string group_score = "topk_sum";  ///< topk_sum, top2_sum, max
  std::string norm_topk_prob = "auto";   ///< auto, always, never
  bool expert_bias = false;
  double bias_update_rate = 1e-3;
  bool linear_bias = false;
  std::string dtype;  ///< "", fp32, fp64
  double jitter = 0;
  bool force_balance = false;
  std::optional<double> force_biased;
  std::vector<BalanceSpec> balance;  ///< those with a coefficient
  double z_loss = 0;
  std::optional<double> capacity_factor;
  bool pad_to_capacity = false;
  std::string drop_policy = "probs";
  bool replay = false;
};

struct MoeSpec {
  RouterSpec router;
  MlpSpec expert;
  int64_t shared_width = 0;  ///< 0: no shared expert
  bool shared_gate = false;
  bool probs_on_input = false;
  // How rows travel to experts on other ranks; it changes no result.
  std::string dispatcher = "allgather";  ///< allgather, alltoall, deepep, hybridep
  bool shared_overlap = false;           ///< the shared expert runs while they do
};

struct LayerSpec {
  AttentionSpec attention;
  FfnKind ffn = FfnKind::kDense;
  MlpSpec mlp;  ///< kDense
  MoeSpec moe;  ///< kMoe
};

struct ModelSpec {
  int64_t vocab = 0;   ///< V, without padding rows
  int64_t hidden = 0;  ///< H
  int64_t sequence_length = 0;
  int64_t max_positions = 0;
  PositionKind positions = PositionKind::kRope;
  NormSpec norm;
  std::vector<LayerSpec> layers;
  std::vector<LayerSpec> predictions;  ///< multi-token prediction: one layer per depth
  double prediction_loss_factor = 0.1;
  bool tied_embeddings = false;
  double hidden_dropout = 0;
  double init_std = 0.02;
  double embedding_init_std = 0.02;
  bool xavier_uniform = false;
  bool norm_weight_decay_qk = false;  ///< q/k norm weights are decayed

  bool has_experts() const;
  /// Standard deviation of output projections: init_std / sqrt(2L).
  double output_init_std() const;
};

/// From resolved options; `vocab` comes from the tokenizer where options give none.
ModelSpec make_model_spec(const Options& options, int64_t vocab);

/// [out, in] matrices of one attention layer and its vectors (biases, norms), for counts.
struct AttentionCount {
  int64_t matrices = 0;
  int64_t vectors = 0;
};
AttentionCount count_attention(const AttentionSpec& attention, int64_t hidden, NormFamily norm);

/// Elements of every parameter, and of those a token meets (K of E experts).
struct ParameterCount {
  int64_t total = 0;
  int64_t active = 0;
};
ParameterCount count_parameters(const ModelSpec& spec);

}  // namespace conclave
