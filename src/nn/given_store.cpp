#include "nn/given_store.h"

#include "kernels/elementwise.h"

namespace conclave {

Parameter* GivenStore::declare(ParameterSpec spec) {
  owned_.push_back(std::make_unique<Parameter>(Parameter{std::move(spec), static_cast<int>(owned_.size())}));
  parameters_.push_back(owned_.back().get());
  return parameters_.back();
}

void GivenStore::declare_buffer(BufferSpec spec) { buffers_.push_back(std::move(spec)); }

void GivenStore::allocate(uint64_t) {
  const Stream stream = device_->default_stream();
  const DType gradient_dtype = compute_dtype_ == DType::kF64 ? DType::kF64 : DType::kF32;
  for (const Parameter* parameter : parameters_) {
    const Shape shape(local_shape(parameter->spec));
    const std::string& name = parameter->spec.name;
    weights_[name] = Tensor::empty(*device_, shape, compute_dtype_, {MemoryCategory::kWeights, "given"});
    gradients_[name] = Tensor::empty(*device_, shape, gradient_dtype, {MemoryCategory::kGradients, "given"});
  }
  zero_gradients(stream);
  for (const BufferSpec& spec : buffers_) {
    const Tensor tensor =
        Tensor::empty(*device_, Shape(spec.shape), spec.dtype, {MemoryCategory::kWeights, "given buffer"});
    kernels::fill(stream, {.x = tensor, .value = 0});
    buffer_tensors_[spec.name] = tensor;
  }
}

Tensor GivenStore::gradient(const Parameter& parameter, int) { return gradients_.at(parameter.spec.name); }

int GivenStore::completed(const std::string& name) const {
  const auto found = completed_.find(name);
  return found == completed_.end() ? 0 : found->second;
}

void GivenStore::zero_gradients(const Stream& stream) {
  for (const auto& [name, gradient] : gradients_) kernels::fill(stream, {.x = gradient, .value = 0});
}

}  // namespace conclave
