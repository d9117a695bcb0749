#include "kernels/vocab_loss_backend.h"

namespace conclave::kernels {
namespace {

Shape check_logits(const char* op, const Tensor& logits) {
  CONCLAVE_CHECK(logits.defined() && logits.rank() == 2 && logits.size(1) > 0,
                 "[kernels/{}] logits must be f32 [R,V'] with columns; got {}", op, describe(logits));
  check_tensor(op, "logits", logits, logits.shape(), DType::kF32);
  return {logits.size(0)};
}

}  // namespace

void vocab_row_maximum(const Stream& stream, const VocabRowMaximumArgs& args) {
  const char* op = "vocab_row_maximum";
  check_tensor(op, "maximum", args.maximum, check_logits(op, args.logits), DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(vocab_row_maximum, stream, args);
}

Cost vocab_row_maximum_cost(const VocabRowMaximumArgs& args) {
  return {static_cast<double>(args.logits.element_count()),
          static_cast<double>(args.logits.bytes() + args.maximum.bytes())};
}

void vocab_exponentials(const Stream& stream, const VocabExponentialsArgs& args) {
  const char* op = "vocab_exponentials";
  const Shape rows = check_logits(op, args.logits);
  check_tensor(op, "maximum", args.maximum, rows, DType::kF32);
  check_tensor(op, "labels", args.labels, rows, DType::kI32);
  check_tensor(op, "sums", args.sums, {2, args.logits.size(0)}, DType::kF32);
  CONCLAVE_KERNEL_DISPATCH(vocab_exponentials, stream, args);
}

Cost vocab_exponentials_cost(const VocabExponentialsArgs& args) {
  return {
      3 * static_cast<double>(args.logits.element_count()),
      static_cast<double>(2 * args.logits.bytes() + args.maximum.bytes() + args.labels.bytes() + args.sums.bytes())};
}

void vocab_loss(const Stream& stream, const VocabLossArgs& args) {
  const char* op = "vocab_loss";
  const Shape rows = check_logits(op, args.exponentials);
  check_tensor(op, "sums", args.sums, {2, args.exponentials.size(0)}, DType::kF32);
  check_tensor(op, "labels", args.labels, rows, DType::kI32);
  check_tensor(op, "loss", args.loss, rows, DType::kF32);
  CONCLAVE_CHECK(args.row_weight.defined() == args.gradient.defined(),
                 "[kernels/{}] row_weight and gradient go together", op);
  if (args.gradient) {
    check_tensor(op, "row_weight", args.row_weight, rows, DType::kF32);
    CONCLAVE_CHECK(args.gradient.dtype() == DType::kF32 || args.gradient.dtype() == DType::kBF16,
                   "[kernels/{}] gradient must be f32 or bf16; got {}", op, describe(args.gradient));
    check_tensor(op, "gradient", args.gradient, args.exponentials.shape(), args.gradient.dtype());
  }
  CONCLAVE_KERNEL_DISPATCH(vocab_loss, stream, args);
}

Cost vocab_loss_cost(const VocabLossArgs& args) {
  const auto small = static_cast<double>(args.sums.bytes() + args.labels.bytes() + args.loss.bytes());
  if (!args.gradient) return {0, small};
  return {2 * static_cast<double>(args.gradient.element_count()),
          small + static_cast<double>(args.exponentials.bytes() + args.gradient.bytes())};
}

}  // namespace conclave::kernels
