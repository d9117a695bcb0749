#include "layers/tensor_region.h"

namespace conclave {

Tensor enter_tensor_region(const Context& context, const Tensor& x, const char* name) {
  const ModelPart& part = context.groups->part();
  if (!part.sequence_parallel) return x;
  std::vector<int64_t> sizes = x.shape().to_vector();
  sizes[0] *= part.tensor.size;
  const Tensor whole = context.empty(Shape(sizes), x.dtype(), name);
  context.groups->of(GroupKind::kTensor).all_gather(context.stream, x, whole, name);
  return whole;
}

Tensor leave_tensor_region(const Context& context, const Tensor& y, const char* name) {
  const ModelPart& part = context.groups->part();
  if (part.tensor.is_whole()) return y;
  Communicator& group = context.groups->of(GroupKind::kTensor);
  if (!part.sequence_parallel) {
    group.all_reduce(context.stream, y, ReduceOp::kSum, name);
    return y;
  }
  std::vector<int64_t> sizes = y.shape().to_vector();
  CONCLAVE_CHECK(sizes[0] % part.tensor.size == 0, "[layers] {} positions over {} ranks of TP", sizes[0],
                 part.tensor.size);
  sizes[0] /= part.tensor.size;
  const Tensor own = context.empty(Shape(sizes), y.dtype(), name);
  group.reduce_scatter(context.stream, y, own, name);
  return own;
}

SavedTensor entered(const Context& context, const SavedTensor& x, const char* name) {
  if (!context.groups->part().sequence_parallel) return x;
  return SavedTensor([context, x, name] {
    Tensor whole = enter_tensor_region(context, x.get(), name);
    x.forget();
    return whole;
  });
}

}  // namespace conclave
