#include "kernels/embedding.h"

#include "kernels/embedding_backend.h"

namespace conclave::kernels {
namespace {

void check_ids(const char* op, const Tensor& ids) {
  CONCLAVE_CHECK(ids.defined() && ids.rank() == 2, "[kernels/{}] ids must be [B,S]; got {}", op, describe(ids));
  check_tensor(op, "ids", ids, ids.shape(), DType::kI32);
}

void check_shard(const char* op, const VocabularyShard& shard, int64_t rows) {
  CONCLAVE_CHECK(shard.first >= 0 && (shard.total == 0 ? shard.first == 0 : shard.first + rows <= shard.total),
                 "[kernels/{}] a table of {} rows that begins at row {} of {}", op, rows, shard.first, shard.total);
}

}  // namespace

void embedding_forward(const Stream& stream, const EmbeddingForwardArgs& args) {
  const char* op = "embedding_forward";
  check_ids(op, args.ids);
  CONCLAVE_CHECK(args.table.defined() && args.table.rank() == 2 &&
                     (args.table.dtype() == DType::kF32 || args.table.dtype() == DType::kBF16),
                 "[kernels/{}] table must be f32 or bf16 [V,H]; got {}", op, describe(args.table));
  check_tensor(op, "y", args.y, {args.ids.size(1), args.ids.size(0), args.table.size(1)}, args.table.dtype());
  check_shard(op, args.shard, args.table.size(0));
  CONCLAVE_KERNEL_DISPATCH(embedding_forward, stream, args);
}

Cost embedding_forward_cost(const EmbeddingForwardArgs& args) {
  const double moved = static_cast<double>(args.y.bytes());
  const bool add = args.accumulate == Accumulate::kAdd;
  return {add ? static_cast<double>(args.y.element_count()) : 0,
          (add ? 3 : 2) * moved + static_cast<double>(args.ids.bytes())};
}

void embedding_backward(const Stream& stream, const EmbeddingBackwardArgs& args) {
  const char* op = "embedding_backward";
  check_ids(op, args.ids);
  CONCLAVE_CHECK(args.dtable.defined() && args.dtable.rank() == 2, "[kernels/{}] dtable must be [V,H]; got {}", op,
                 describe(args.dtable));
  check_tensor(op, "dtable", args.dtable, args.dtable.shape(), DType::kF32);
  CONCLAVE_CHECK(args.dy.defined() && (args.dy.dtype() == DType::kF32 || args.dy.dtype() == DType::kBF16),
                 "[kernels/{}] dy must be f32 or bf16 [S,B,H]; got {}", op, describe(args.dy));
  check_tensor(op, "dy", args.dy, {args.ids.size(1), args.ids.size(0), args.dtable.size(1)}, args.dy.dtype());
  check_shard(op, args.shard, args.dtable.size(0));
  const EmbeddingBackwardWork work{args, Tensor::empty(stream.device(), {args.ids.element_count()}, DType::kI64,
                                                       {MemoryCategory::kWorkspace, "tokens in order of id"})};
  CONCLAVE_KERNEL_DISPATCH(embedding_backward, stream, work);
}

Cost embedding_backward_cost(const EmbeddingBackwardArgs& args) {
  // Rows of the table are read and written once for each token at most.
  const double elements = static_cast<double>(args.dy.element_count());
  return {elements, static_cast<double>(args.dy.bytes() + args.ids.bytes()) + 8 * elements};
}

}  // namespace conclave::kernels
