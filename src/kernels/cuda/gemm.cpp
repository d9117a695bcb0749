#include "kernels/cuda/dense_product.h"
#include "kernels/cuda/launch.h"
#include "kernels/gemm_backend.h"

namespace conclave::kernels::cuda {

int64_t gemm_scratch_bytes(const GemmCall&) { return kDenseWorkspaceBytes; }

void gemm(const Stream& stream, const GemmCall& call) {
  DenseProduct product;
  product.in = call.a.dtype();
  product.out = call.c.dtype();
  product.m = call.m;
  product.n = call.n;
  product.k = call.k;
  product.transpose_a = call.transpose_a == Transpose::kYes;
  product.transpose_b = call.transpose_b == Transpose::kYes;
  product.add = call.accumulate == Accumulate::kAdd;
  product.lda = call.a.size(1);
  product.ldb = call.b.size(1);
  product.ldc = call.n;
  product.a = call.a.raw();
  product.b = call.b.raw();
  product.bias = call.bias ? call.bias.raw() : nullptr;
  product.c = call.c.raw();
  dense_product(product, call.workspace.raw(), cuda_stream(stream));
}

}  // namespace conclave::kernels::cuda
