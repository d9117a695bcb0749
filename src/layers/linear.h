// y = x W^T + b, with the weight gradient as deferred work. Whole, or one TP rank's part; what must cross between ranks
// is the caller's affair (layers/tensor_region.h).
#pragma once

#include <string>
#include <vector>

#include "nn/context.h"

namespace conclave {

/// An interval of output rows; `replica`: a rank before this one holds them too.
struct OutputRows {
  int64_t begin = 0, size = 0;
  bool replica = false;
};

class Linear {
 public:
  struct Config {
    std::string name;  ///< "decoder.layers.0.self_attention.linear_qkv"; parameters are name.weight and name.bias
    int64_t in = 0;
    int64_t out = 0;
    bool bias = false;
    Initializer init;
    Initializer bias_init = Initializer::zeros();
    ParameterRole role = ParameterRole::kMatrix;
    /// Cut over TP by output rows (column parallel): the intervals of `out` held here, in order; empty: all of it.
    std::vector<OutputRows> rows;
    /// Cut over TP by input columns (row parallel): outputs are partial sums, and the first rank adds the bias.
    Slice input;
    /// Where the parameters stand whole: their replicas on TP, `partial` with sequence parallelism.
    Slice replicas;
    bool partial = false;
  };
  Linear(ParameterStore& store, const Config& config);

  // Sizes are this rank's: in and out stand for what it holds of them.
  /// x [..., in] -> [..., out] of the compute dtype.
  Tensor forward(const Context& context, const Tensor& x) const;
  /// dy [..., out] -> dx [..., in]; enqueues dW += dy^T x and db += column sums.
  Tensor backward(const Context& context, const Tensor& dy, const SavedTensor& x) const;
  /// The two halves of backward, where the gradients they start from differ.
  Tensor input_gradient(const Context& context, const Tensor& dy) const;
  void add_input_gradient(const Context& context, const Tensor& dy, const Tensor& dx) const;  ///< dx += dy W
  void enqueue_weight_gradient(const Context& context, const Tensor& dy, const SavedTensor& x) const;

  const Parameter& weight() const { return *weight_; }

 private:
  Config config_;
  Parameter* weight_;
  Parameter* bias_ = nullptr;
  int64_t local_in_, local_out_;
};

}  // namespace conclave
