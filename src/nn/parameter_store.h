// Where weights, gradients and persistent buffers live. Modules acquire a parameter's compute form and its gradient
// buffer from here and never hold weight memory. Sharding, gathering, buckets, main weights and optimizer state stand
// behind this interface (room optim).
#pragma once

#include <string>
#include <vector>

#include "nn/parameter.h"
#include "tensor/tensor.h"

namespace conclave {

/// State that is saved but not trained (expert_bias). Not touched by dtype conversion.
struct BufferSpec {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype = DType::kF32;
};

class ParameterStore {
 public:
  virtual ~ParameterStore() = default;

  /// Before allocate(): adds a parameter or buffer. Names are unique.
  virtual Parameter* declare(ParameterSpec spec) = 0;
  virtual void declare_buffer(BufferSpec spec) = 0;
  /// Takes memory for everything declared and writes initial values.
  virtual void allocate(uint64_t seed) = 0;

  /// The weight in the compute dtype, [local shape], valid until release().
  virtual Tensor acquire(const Parameter& parameter) = 0;
  virtual void release(const Parameter& parameter) = 0;
  /// The f32 buffer that weight gradients are added to, [local shape].
  virtual Tensor gradient(const Parameter& parameter, int use = 0) = 0;
  /// A module says so once per micro-batch, after its last addition to gradient().
  virtual void gradient_complete(const Parameter& parameter) = 0;
  /// A persistent buffer by name.
  virtual Tensor buffer(const std::string& name) = 0;

  virtual const std::vector<Parameter*>& parameters() const = 0;
  virtual const std::vector<BufferSpec>& buffers() const = 0;
  virtual DType compute_dtype() const = 0;
};

/// A weight held for the life of this object.
class Weight {
 public:
  Weight(ParameterStore& store, const Parameter& parameter)
      : store_(&store), parameter_(&parameter), tensor_(store.acquire(parameter)) {}
  ~Weight() { store_->release(*parameter_); }
  Weight(const Weight&) = delete;
  Weight& operator=(const Weight&) = delete;
  const Tensor& tensor() const { return tensor_; }

 private:
  ParameterStore* store_;
  const Parameter* parameter_;
  Tensor tensor_;
};

}  // namespace conclave
