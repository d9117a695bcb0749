#include "kernels/cuda/grouped_hopper.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/plain_product.h"
#include "kernels/grouped_gemm_backend.h"

namespace conclave::kernels::cuda {
namespace {

/// On the matrix units where they take it, by ordinary arithmetic elsewhere (f32, odd sizes).
void run_product(const GroupedProduct& product, DType dtype, const PlainProduct& plain, const Stream& stream) {
  if (dtype == DType::kBF16 && grouped_hopper_serves(product)) {
    grouped_hopper(product, grouped_tiling(product), cuda_stream(stream));
  } else {
    plain_product(plain, cuda_stream(stream));
  }
}

GroupedProduct sizes_of(GroupedKind kind, const Tensor& rows, const Tensor& stack, const Tensor& offsets) {
  GroupedProduct product;
  product.kind = kind;
  product.offsets = offsets.data<int64_t>();
  product.rows = rows.size(0);
  product.experts = stack.size(0);
  product.n = stack.size(1);
  product.k = stack.size(2);
  return product;
}

PlainProduct plain_of(const GroupedProduct& product, DType in, DType out) {
  PlainProduct plain;
  plain.in = in;
  plain.out = out;
  plain.a = product.left;
  plain.b = product.right;
  plain.bias = product.bias;
  plain.c = product.out;
  plain.offsets = product.offsets;
  plain.experts = product.experts;
  return plain;
}

}  // namespace

void grouped_gemm_forward(const Stream& stream, const GroupedForwardWork& work) {
  GroupedProduct product = sizes_of(GroupedKind::kForward, work.x, work.weight, work.offsets);
  product.left = work.x.raw();
  product.right = work.weight.raw();
  product.bias = work.bias ? work.bias.raw() : nullptr;
  product.out = work.y.raw();
  PlainProduct plain = plain_of(product, work.x.dtype(), work.y.dtype());
  plain.groups = Groups::kRows;
  plain.m = product.rows;
  plain.n = plain.c_row = plain.bias_expert = product.n;
  plain.k = plain.a_row = plain.b_column = product.k;
  plain.a_sum = plain.b_sum = 1;
  plain.b_expert = product.n * product.k;
  run_product(product, work.x.dtype(), plain, stream);
}

void grouped_gemm_input_gradient(const Stream& stream, const GroupedInputGradientWork& work) {
  GroupedProduct product = sizes_of(GroupedKind::kInputGradient, work.dy, work.weight, work.offsets);
  product.left = work.dy.raw();
  product.right = work.weight.raw();
  product.out = work.dx.raw();
  PlainProduct plain = plain_of(product, work.dy.dtype(), work.dx.dtype());
  plain.groups = Groups::kRows;
  plain.m = product.rows;
  plain.n = plain.c_row = plain.b_sum = product.k;
  plain.k = plain.a_row = product.n;
  plain.a_sum = plain.b_column = 1;
  plain.b_expert = product.n * product.k;
  run_product(product, work.dy.dtype(), plain, stream);
}

void grouped_gemm_weight_gradient(const Stream& stream, const GroupedWeightGradientWork& work) {
  GroupedProduct product = sizes_of(GroupedKind::kWeightGradient, work.dy, work.dweight, work.offsets);
  product.left = work.dy.raw();
  product.right = work.x.raw();
  product.out = work.dweight.raw();
  PlainProduct plain = plain_of(product, work.dy.dtype(), DType::kF32);
  plain.groups = Groups::kSums;
  plain.add = true;
  plain.m = plain.a_sum = product.n;
  plain.n = plain.c_row = plain.b_sum = product.k;
  plain.a_row = plain.b_column = 1;
  plain.c_expert = product.n * product.k;
  run_product(product, work.dy.dtype(), plain, stream);
  if (work.dbias)
    add_column_sums({.in = work.dy.dtype(),
                     .rows = work.dy.raw(),
                     .offsets = product.offsets,
                     .sums = work.dbias.data<float>(),
                     .experts = product.experts,
                     .n = product.n,
                     .leading = product.n},
                    cuda_stream(stream));
}

}  // namespace conclave::kernels::cuda
