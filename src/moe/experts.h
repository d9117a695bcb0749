// The experts of a layer as grouped products over contiguous groups of rows: FC1, activation times probability, FC2.
// A rank holds n = E / EP neighbouring experts (EP) and of each a share f = F / ETP of its width (ETP).
#pragma once

#include <string>

#include "kernels/activation.h"
#include "layout/model_part.h"
#include "nn/context.h"

namespace conclave {

struct ExpertsConfig {
  std::string name;     ///< "decoder.layers.0.mlp.experts"
  int64_t experts = 0;  ///< E
  int64_t hidden = 0;   ///< H, width of the rows
  int64_t width = 0;    ///< F
  Slice expert;         ///< EP: which experts are here
  Slice expert_tensor;  ///< ETP: which part of their width
  kernels::ActivationKind activation = kernels::ActivationKind::kSwiGlu;
  bool bias = false;
  float clamp = 0;
  float linear_offset = 0;
  Initializer init, output_init;
};

/// Rows sorted by expert held here.
struct ExpertRows {
  SavedTensor rows;   ///< [P,H]; restored when asked
  Tensor offsets;     ///< [n+1] i64
  Tensor row_weight;  ///< [P] f32, routing probability of each row
};

struct ExpertsSaved {
  ExpertRows in;
  Tensor fc1;          ///< [P, f or 2f], before the activation
  SavedTensor hidden;  ///< [P,f], activation times probability; "moe_act"
};

/// With ETP this rank's addends of both.
struct ExpertsGradient {
  Tensor rows;        ///< [P,H]
  Tensor row_weight;  ///< [P] f32
};

class Experts {
 public:
  Experts(ParameterStore& store, const ExpertsConfig& config);
  /// [P,H] -> [P,H]: f_e(row) for rows of expert e, with the probability applied before FC2 (and to FC2's bias). With
  /// ETP an addend of it: the ranks that share the expert make the others.
  Tensor forward(const Context& context, const ExpertRows& in, ExpertsSaved* saved) const;
  ExpertsGradient backward(const Context& context, const Tensor& dy, const ExpertsSaved& saved) const;

 private:
  ExpertsConfig config_;
  Parameter *fc1_weight_, *fc2_weight_;
  Parameter *fc1_bias_ = nullptr, *fc2_bias_ = nullptr;

  int64_t held() const { return config_.expert.share(config_.experts); }        // n
  int64_t width() const { return config_.expert_tensor.share(config_.width); }  // f
  int64_t fc1_width() const { return width() * (kernels::is_gated(config_.activation) ? 2 : 1); }
  /// FC2's bias is added once: by the first of the ranks that share an expert.
  bool adds_fc2_bias() const { return fc2_bias_ != nullptr && config_.expert_tensor.rank == 0; }
  Tensor row_count(const ExpertRows& in) const { return in.offsets.slice(held(), held() + 1); }
  Tensor activate(const Context& context, const Tensor& fc1, const ExpertRows& in) const;
  void fc2_bias_backward(const Context& context, const Tensor& dy, const ExpertRows& in,
                         const Tensor& drow_weight) const;
  void enqueue_fc2_gradient(const Context& context, const Tensor& dy, const ExpertsSaved& saved) const;
  void enqueue_fc1_gradient(const Context& context, const Tensor& dfc1, const ExpertsSaved& saved) const;
};

}  // namespace conclave
