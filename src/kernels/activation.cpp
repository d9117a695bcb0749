#include "kernels/activation.h"

#include "kernels/activation_backend.h"

namespace conclave::kernels {
namespace {

void check(const char* op, ActivationKind kind, const Tensor& x, const Tensor& y, const char* y_name,
           const Tensor& row_weight, const Tensor& row_count) {
  CONCLAVE_CHECK(y.defined() && y.rank() == 2 && (y.dtype() == DType::kF32 || y.dtype() == DType::kBF16),
                 "[kernels/{}] {} must be f32 or bf16 [R,F]; got {}", op, y_name, describe(y));
  const int64_t width = is_gated(kind) ? 2 * y.size(1) : y.size(1);
  check_tensor(op, "x", x, {y.size(0), width}, y.dtype());
  if (row_weight) check_tensor(op, "row_weight", row_weight, {y.size(0)}, DType::kF32);
  if (row_count) check_tensor(op, "row_count", row_count, {1}, DType::kI64);
}

// Additions, products and the exponential's share, per element of y: rough, the op is bound by memory.
constexpr double kForwardFlops = 20, kBackwardFlops = 30;

}  // namespace

bool is_gated(ActivationKind kind) { return kind >= ActivationKind::kSwiGlu; }

ActivationKind activation_inside(ActivationKind kind) {
  switch (kind) {
    case ActivationKind::kSwiGlu:
      return ActivationKind::kSilu;
    case ActivationKind::kGeGlu:
      return ActivationKind::kGelu;
    case ActivationKind::kGeGluTanh:
      return ActivationKind::kGeluTanh;
    case ActivationKind::kQuickGeGlu:
      return ActivationKind::kQuickGelu;
    default:
      return kind;
  }
}

std::string_view activation_name(ActivationKind kind) {
  constexpr std::string_view kNames[] = {"gelu",         "gelu_tanh", "quick_gelu", "silu",       "relu",
                                         "squared_relu", "swiglu",    "geglu",      "geglu_tanh", "quick_geglu"};
  return kNames[static_cast<size_t>(kind)];
}

void activation_forward(const Stream& stream, const ActivationForwardArgs& args) {
  check("activation_forward", args.kind, args.x, args.y, "y", args.row_weight, args.row_count);
  CONCLAVE_KERNEL_DISPATCH(activation_forward, stream, args);
}

Cost activation_forward_cost(const ActivationForwardArgs& args) {
  return {kForwardFlops * static_cast<double>(args.y.element_count()),
          static_cast<double>(args.x.bytes() + args.y.bytes() + (args.row_weight ? args.row_weight.bytes() : 0))};
}

void activation_backward(const Stream& stream, const ActivationBackwardArgs& args) {
  const char* op = "activation_backward";
  check(op, args.kind, args.x, args.dy, "dy", args.row_weight, args.row_count);
  check_tensor(op, "dx", args.dx, args.x.shape(), args.x.dtype());
  CONCLAVE_CHECK(args.row_weight.defined() || !args.drow_weight,
                 "[kernels/{}] drow_weight is wanted where there is no row_weight", op);
  if (args.drow_weight) check_tensor(op, "drow_weight", args.drow_weight, {args.dy.size(0)}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(activation_backward, stream, args);
}

Cost activation_backward_cost(const ActivationBackwardArgs& args) {
  return {kBackwardFlops * static_cast<double>(args.dy.element_count()),
          static_cast<double>(args.x.bytes() + args.dy.bytes() + args.dx.bytes() +
                              (args.row_weight ? args.row_weight.bytes() : 0) +
                              (args.drow_weight ? args.drow_weight.bytes() : 0))};
}

}  // namespace conclave::kernels
