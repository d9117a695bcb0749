#include "kernels/router_capacity.h"

#include <cmath>

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(router_drop, RouterDropArgs)
CONCLAVE_KERNEL_BACKENDS(routing_map, RoutingMapArgs)
CONCLAVE_KERNEL_BACKENDS(pad_routing_map, PadRoutingMapArgs)
CONCLAVE_KERNEL_BACKENDS(count_choices, CountChoicesArgs)
CONCLAVE_KERNEL_BACKENDS(count_map, CountMapArgs)

namespace {

void check_matrix(const char* op, const char* name, const Tensor& tensor, DType dtype) {
  CONCLAVE_CHECK(tensor.defined() && tensor.rank() == 2 && tensor.dtype() == dtype,
                 "[kernels/{}] {} must be a matrix of {}; got {}", op, name, dtype_name(dtype), describe(tensor));
}

void check_counts(const char* op, const Tensor& counts, const Tensor& padding, int64_t tokens) {
  CONCLAVE_CHECK(
      counts.defined() && counts.rank() == 1 && (counts.dtype() == DType::kF32 || counts.dtype() == DType::kF64),
      "[kernels/{}] counts must be [E] f32 or f64; got {}", op, describe(counts));
  if (padding.defined()) check_tensor(op, "padding", padding, {tokens}, DType::kU8);
}

}  // namespace

int64_t expert_capacity(int64_t tokens, int64_t topk, int64_t experts, double factor) {
  const double rows = static_cast<double>(tokens * topk) / static_cast<double>(experts);
  return static_cast<int64_t>(std::ceil(rows * factor));
}

void router_drop(const Stream& stream, const RouterDropArgs& args) {
  const char* op = "router_drop";
  check_matrix(op, "chosen", args.chosen, DType::kI32);
  check_tensor(op, "kept", args.kept, args.chosen.shape(), DType::kI32);
  CONCLAVE_CHECK(args.probs.defined() && args.probs.shape() == args.chosen.shape() &&
                     (args.probs.dtype() == DType::kF32 || args.probs.dtype() == DType::kF64),
                 "[kernels/{}] probs must be {} f32 or f64; got {}", op, args.chosen.shape().to_string(),
                 describe(args.probs));
  CONCLAVE_CHECK(args.capacity >= 0, "[kernels/{}] capacity must not be negative; got {}", op, args.capacity);
  RouterDropArgs full = args;
  full.workspace = Tensor::empty(args.chosen.device(), {args.chosen.element_count() + args.expert_count + 1},
                                 DType::kI32, {MemoryCategory::kWorkspace, "router_drop"});
  CONCLAVE_KERNEL_DISPATCH(router_drop, stream, full);
}

Cost router_drop_cost(const RouterDropArgs& args) {
  return {static_cast<double>(args.chosen.element_count()),
          bytes_of(args.chosen) + bytes_of(args.kept) + 2 * bytes_of(args.probs)};
}

void routing_map(const Stream& stream, const RoutingMapArgs& args) {
  const char* op = "routing_map";
  check_matrix(op, "experts", args.experts, DType::kI32);
  check_matrix(op, "map", args.map, DType::kU8);
  CONCLAVE_CHECK_EQ(args.map.size(0), args.experts.size(0), "[kernels/{}] rows of map and experts", op);
  CONCLAVE_KERNEL_DISPATCH(routing_map, stream, args);
}

Cost routing_map_cost(const RoutingMapArgs& args) { return {0, bytes_of(args.experts) + bytes_of(args.map)}; }

void pad_routing_map(const Stream& stream, const PadRoutingMapArgs& args) {
  const char* op = "pad_routing_map";
  check_matrix(op, "map", args.map, DType::kU8);
  CONCLAVE_CHECK(args.amount >= (args.kind == MapPadding::kToMultiple ? 1 : 0), "[kernels/{}] cannot pad to {} rows",
                 op, args.amount);
  CONCLAVE_KERNEL_DISPATCH(pad_routing_map, stream, args);
}

Cost pad_routing_map_cost(const PadRoutingMapArgs& args) {
  return {static_cast<double>(args.map.element_count()), 3 * bytes_of(args.map)};
}

void count_choices(const Stream& stream, const CountChoicesArgs& args) {
  const char* op = "count_choices";
  check_matrix(op, "experts", args.experts, DType::kI32);
  check_counts(op, args.counts, args.padding, args.experts.size(0));
  CONCLAVE_KERNEL_DISPATCH(count_choices, stream, args);
}

Cost count_choices_cost(const CountChoicesArgs& args) {
  return {static_cast<double>(args.experts.element_count()),
          bytes_of(args.experts) + bytes_of(args.padding) + 2 * bytes_of(args.counts)};
}

void count_map(const Stream& stream, const CountMapArgs& args) {
  const char* op = "count_map";
  check_matrix(op, "map", args.map, DType::kU8);
  check_counts(op, args.counts, args.padding, args.map.size(0));
  CONCLAVE_CHECK_EQ(args.counts.size(0), args.map.size(1), "[kernels/{}] columns of map and counts", op);
  CONCLAVE_KERNEL_DISPATCH(count_map, stream, args);
}

Cost count_map_cost(const CountMapArgs& args) {
  return {static_cast<double>(args.map.element_count()),
          bytes_of(args.map) + bytes_of(args.padding) + 2 * bytes_of(args.counts)};
}

}  // namespace conclave::kernels
