#include "kernels/dispatch_index.h"

#include "kernels/dispatch_index_backend.h"

namespace conclave::kernels {
namespace {

double bytes_of(const Tensor& tensor) { return tensor.defined() ? static_cast<double>(tensor.bytes()) : 0; }

void check_rank(const char* op, const char* name, const Tensor& tensor, int rank, DType dtype) {
  CONCLAVE_CHECK(tensor.defined() && tensor.rank() == rank && tensor.dtype() == dtype,
                 "[kernels/{}] {} must be {} with {} axes; got {}", op, name, dtype_name(dtype), rank,
                 describe(tensor));
}

}  // namespace

void map_choices(const Stream& stream, const MapChoicesArgs& args) {
  const char* op = "map_choices";
  check_rank(op, "experts", args.experts, 2, DType::kI32);
  check_rank(op, "table", args.table, 1, DType::kI32);
  if (args.source_rows) check_rank(op, "source_rows", args.source_rows, 1, DType::kI64);
  check_tensor(op, "out", args.out, args.experts.shape(), DType::kI32);
  CONCLAVE_KERNEL_DISPATCH(map_choices, stream, args);
}
Cost map_choices_cost(const MapChoicesArgs& args) { return {0, 2 * bytes_of(args.experts) + bytes_of(args.table)}; }

void destination_hits(const Stream& stream, const DestinationHitsArgs& args) {
  const char* op = "destination_hits";
  check_rank(op, "experts", args.experts, 2, DType::kI32);
  check_rank(op, "homes", args.homes, 2, DType::kU8);
  check_tensor(op, "hits", args.hits, {args.experts.size(0), args.homes.size(1)}, DType::kI32);
  CONCLAVE_KERNEL_DISPATCH(destination_hits, stream, args);
}
Cost destination_hits_cost(const DestinationHitsArgs& args) {
  return {0, bytes_of(args.experts) + bytes_of(args.homes) + bytes_of(args.hits)};
}

void reorder_chunks(const Stream& stream, const ReorderChunksArgs& args) {
  const char* op = "reorder_chunks";
  check_rank(op, "sizes", args.sizes, 1, DType::kI64);
  check_tensor(op, "order", args.order, args.sizes.shape(), DType::kI32);
  check_rank(op, "from", args.from, 1, DType::kI32);
  check_tensor(op, "to", args.to, args.from.shape(), DType::kI32);
  CONCLAVE_KERNEL_DISPATCH(reorder_chunks, stream, args);
}
Cost reorder_chunks_cost(const ReorderChunksArgs& args) {
  return {0, bytes_of(args.sizes) + bytes_of(args.order) + bytes_of(args.from) + bytes_of(args.to)};
}

void compose_index(const Stream& stream, const ComposeIndexArgs& args) {
  const char* op = "compose_index";
  check_rank(op, "table", args.table, 1, DType::kI32);
  check_rank(op, "index", args.index, 1, DType::kI32);
  check_tensor(op, "out", args.out, args.index.shape(), DType::kI32);
  CONCLAVE_KERNEL_DISPATCH(compose_index, stream, args);
}
Cost compose_index_cost(const ComposeIndexArgs& args) { return {0, 3 * bytes_of(args.index)}; }

}  // namespace conclave::kernels
