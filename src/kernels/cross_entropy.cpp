#include "kernels/cross_entropy.h"

#include "kernels/cross_entropy_backend.h"

namespace conclave::kernels {
namespace {

constexpr const char* kOp = "linear_cross_entropy";

void check_optional(const char* name, const Tensor& tensor, const Shape& shape, DType dtype) {
  if (tensor.defined()) check_tensor(kOp, name, tensor, shape, dtype);
}

LinearCrossEntropyWork make_work(const LinearCrossEntropyArgs& args) {
  CONCLAVE_CHECK(args.hidden.defined() && args.hidden.rank() == 2 && args.weight.defined() && args.weight.rank() == 2 &&
                     (args.hidden.dtype() == DType::kF32 || args.hidden.dtype() == DType::kBF16),
                 "[kernels/{}] hidden [T,H] and weight [V,H] must be f32 or bf16; got {} and {}", kOp,
                 describe(args.hidden), describe(args.weight));
  LinearCrossEntropyWork work{args, args.hidden.size(0), args.hidden.size(1), args.weight.size(0), {}};
  const DType dtype = args.hidden.dtype();
  CONCLAVE_CHECK(work.width > 0 && work.vocabulary > 0, "[kernels/{}] H and V must be at least 1; got {} and {}", kOp,
                 work.width, work.vocabulary);
  check_tensor(kOp, "weight", args.weight, {work.vocabulary, work.width}, dtype);
  check_tensor(kOp, "labels", args.labels, {work.rows}, DType::kI32);
  check_tensor(kOp, "loss", args.loss, {work.rows}, DType::kF32);
  check_optional("bias", args.bias, {work.vocabulary}, dtype);
  check_optional("row_weight", args.row_weight, {work.rows}, DType::kF32);
  check_optional("dhidden", args.dhidden, {work.rows, work.width}, dtype);
  check_optional("dweight", args.dweight, {work.vocabulary, work.width}, DType::kF32);
  check_optional("dbias", args.dbias, {work.vocabulary}, DType::kF32);
  check_optional("greedy_correct", args.greedy_correct, {work.rows}, DType::kU8);
  check_optional("logit_maximum", args.logit_maximum, {1}, DType::kF32);
  CONCLAVE_CHECK(args.row_weight.defined() || !(args.dhidden || args.dweight || args.dbias),
                 "[kernels/{}] gradients need row_weight", kOp);
  CONCLAVE_CHECK(args.chunk_rows >= 0, "[kernels/{}] chunk_rows is {}", kOp, args.chunk_rows);
  return work;
}

}  // namespace

void linear_cross_entropy(const Stream& stream, const LinearCrossEntropyArgs& args) {
  LinearCrossEntropyWork work = make_work(args);
  const bool on_cuda = stream.device().kind() == DeviceKind::kCuda;
  const int64_t scratch =
      on_cuda ? cuda::linear_cross_entropy_scratch_bytes(work) : cpu::linear_cross_entropy_scratch_bytes(work);
  work.workspace = Tensor::empty(stream.device(), {scratch}, DType::kU8, {MemoryCategory::kWorkspace, kOp});
  CONCLAVE_KERNEL_DISPATCH(linear_cross_entropy, stream, work);
}

Cost linear_cross_entropy_cost(const LinearCrossEntropyArgs& args) {
  const auto bytes = [](const Tensor& tensor) { return tensor.defined() ? static_cast<double>(tensor.bytes()) : 0.0; };
  const double products = 1 + (args.dhidden.defined() ? 1 : 0) + (args.dweight.defined() ? 1 : 0);
  const double flops =
      2.0 * static_cast<double>(args.hidden.element_count()) * static_cast<double>(args.weight.size(0));
  return {products * flops, bytes(args.hidden) + bytes(args.weight) + bytes(args.bias) + bytes(args.labels) +
                                bytes(args.loss) + bytes(args.row_weight) + bytes(args.dhidden) +
                                2 * bytes(args.dweight) + 2 * bytes(args.dbias)};
}

int64_t linear_cross_entropy_workspace_bytes(const LinearCrossEntropyArgs& args) {
  return cpu::linear_cross_entropy_scratch_bytes(make_work(args));
}

}  // namespace conclave::kernels
