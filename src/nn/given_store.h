// A ParameterStore that holds given values: for proofs and tests of single modules. Any floating dtype; gradients are
// f32, or f64 for f64 weights. No optimizer, no sharding.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nn/parameter_store.h"

namespace conclave {

class GivenStore final : public ParameterStore {
 public:
  GivenStore(Device& device, DType compute_dtype) : device_(&device), compute_dtype_(compute_dtype) {}

  Parameter* declare(ParameterSpec spec) override;
  void declare_buffer(BufferSpec spec) override;
  /// Takes memory; weights are undefined until given, gradients and buffers are zero.
  void allocate(uint64_t seed) override;

  Tensor acquire(const Parameter& parameter) override { return weights_.at(parameter.spec.name); }
  void release(const Parameter&) override {}
  Tensor gradient(const Parameter& parameter, int use = 0) override;
  void gradient_complete(const Parameter& parameter) override { ++completed_[parameter.spec.name]; }
  Tensor buffer(const std::string& name) override { return buffer_tensors_.at(name); }
  const std::vector<Parameter*>& parameters() const override { return parameters_; }
  const std::vector<BufferSpec>& buffers() const override { return buffers_; }
  DType compute_dtype() const override { return compute_dtype_; }

  /// By name, to write and read values.
  Tensor weight(const std::string& name) const { return weights_.at(name); }
  Tensor gradient(const std::string& name) const { return gradients_.at(name); }
  /// How often a module said that a gradient is complete.
  int completed(const std::string& name) const;
  void zero_gradients(const Stream& stream);

 private:
  Device* device_;
  DType compute_dtype_;
  std::vector<std::unique_ptr<Parameter>> owned_;
  std::vector<Parameter*> parameters_;
  std::vector<BufferSpec> buffers_;
  std::map<std::string, Tensor> weights_, gradients_, buffer_tensors_;
  std::map<std::string, int> completed_;
};

}  // namespace conclave
