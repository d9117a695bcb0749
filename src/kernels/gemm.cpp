#include "kernels/gemm.h"

#include "kernels/gemm_backend.h"

namespace conclave::kernels {
namespace {

bool dtypes_are_known(DType a, DType b, DType c) {
  if (a != b) return false;
  if (a == DType::kF32 || a == DType::kF64) return c == a;
  return a == DType::kBF16 && (c == DType::kBF16 || c == DType::kF32);
}

/// Checks the arguments and reads the sizes off them.
GemmCall make_call(const GemmArgs& args) {
  CONCLAVE_CHECK(args.a.defined() && args.b.defined() && args.c.defined() && args.a.rank() == 2 && args.b.rank() == 2 &&
                     args.c.rank() == 2,
                 "[kernels/gemm] a, b and c must be matrices; got {}, {} and {}", describe(args.a), describe(args.b),
                 describe(args.c));
  GemmCall call;
  static_cast<GemmArgs&>(call) = args;
  const bool a_turned = args.transpose_a == Transpose::kYes, b_turned = args.transpose_b == Transpose::kYes;
  call.m = args.a.size(a_turned ? 1 : 0);
  call.k = args.a.size(a_turned ? 0 : 1);
  call.n = args.b.size(b_turned ? 0 : 1);
  CONCLAVE_CHECK(args.b.size(b_turned ? 1 : 0) == call.k && args.c.shape() == Shape({call.m, call.n}),
                 "[kernels/gemm] sizes do not fit: a {}{}, b {}{}, c {}", describe(args.a),
                 a_turned ? " transposed" : "", describe(args.b), b_turned ? " transposed" : "", describe(args.c));
  CONCLAVE_CHECK(dtypes_are_known(args.a.dtype(), args.b.dtype(), args.c.dtype()),
                 "[kernels/gemm] dtypes must be f32,f32->f32; bf16,bf16->bf16 or f32; f64,f64->f64; got {},{}->{}",
                 dtype_name(args.a.dtype()), dtype_name(args.b.dtype()), dtype_name(args.c.dtype()));
  if (args.bias.defined()) check_tensor("gemm", "bias", args.bias, {call.n}, args.b.dtype());
  return call;
}

}  // namespace

void gemm(const Stream& stream, const GemmArgs& args) {
  GemmCall call = make_call(args);
  const bool on_cuda = stream.device().kind() == DeviceKind::kCuda;
  const int64_t scratch = on_cuda ? cuda::gemm_scratch_bytes(call) : cpu::gemm_scratch_bytes(call);
  call.workspace = Tensor::empty(stream.device(), {scratch}, DType::kU8, {MemoryCategory::kWorkspace, "gemm"});
  CONCLAVE_KERNEL_DISPATCH(gemm, stream, call);
}

Cost gemm_cost(const GemmArgs& args) {
  const double outputs = static_cast<double>(args.c.element_count());
  const double inner = static_cast<double>(args.a.size(args.transpose_a == Transpose::kYes ? 0 : 1));
  const double writes = args.accumulate == Accumulate::kAdd ? 2 : 1;
  return {2 * outputs * inner, static_cast<double>(args.a.bytes()) + static_cast<double>(args.b.bytes()) +
                                   writes * static_cast<double>(args.c.bytes())};
}

int64_t gemm_workspace_bytes(const GemmArgs& args) { return cpu::gemm_scratch_bytes(make_call(args)); }

void linear_forward(const Stream& stream, const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& y) {
  gemm(stream, {.a = x.as_matrix(), .b = weight, .c = y.as_matrix(), .transpose_b = Transpose::kYes, .bias = bias});
}

void linear_input_gradient(const Stream& stream, const Tensor& dy, const Tensor& weight, const Tensor& dx,
                           Accumulate accumulate) {
  gemm(stream, {.a = dy.as_matrix(), .b = weight, .c = dx.as_matrix(), .accumulate = accumulate, .bias = {}});
}

void linear_weight_gradient(const Stream& stream, const Tensor& dy, const Tensor& x, const Tensor& dweight) {
  gemm(stream, {.a = dy.as_matrix(),
                .b = x.as_matrix(),
                .c = dweight,
                .transpose_a = Transpose::kYes,
                .accumulate = Accumulate::kAdd,
                .bias = {}});
}

}  // namespace conclave::kernels
