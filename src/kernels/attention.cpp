#include "kernels/attention.h"

#include <algorithm>

#include "kernels/attention_backend.h"

namespace conclave::kernels {
namespace {

void check_heads(const char* op, const Tensor& q, const Tensor& k, const Tensor& v) {
  CONCLAVE_CHECK(q.defined() && q.rank() == 4 && (q.dtype() == DType::kF32 || q.dtype() == DType::kBF16),
                 "[kernels/{}] q must be f32 or bf16 [B,n,S,D]; got {}", op, describe(q));
  CONCLAVE_CHECK(k.defined() && k.rank() == 4 && v.defined() && v.rank() == 4,
                 "[kernels/{}] k must be [B,g,Skv,D] and v [B,g,Skv,Dv]; got {} and {}", op, describe(k), describe(v));
  CONCLAVE_CHECK(k.size(1) > 0 && q.size(1) % k.size(1) == 0,
                 "[kernels/{}] {} query heads do not share {} key/value heads evenly", op, q.size(1), k.size(1));
  check_tensor(op, "k", k, {q.size(0), k.size(1), k.size(2), q.size(3)}, q.dtype());
  check_tensor(op, "v", v, {q.size(0), k.size(1), k.size(2), v.size(3)}, q.dtype());
}

void check_sink(const char* op, const Tensor& q, const Tensor& sink, const Tensor& dsink) {
  if (sink) check_tensor(op, "sink", sink, {q.size(1)}, q.dtype());
  if (!dsink) return;
  CONCLAVE_CHECK(sink.defined(), "[kernels/{}] a gradient of the sink without a sink", op);
  check_tensor(op, "dsink", dsink, {q.size(1)}, DType::kF32);
}

void check_rest(const char* op, const AttentionShape& shape, const AttentionMask& mask,
                const AttentionDropout& dropout) {
  if (mask.document_starts)
    check_tensor(op, "document_starts", mask.document_starts, {shape.batch, shape.queries}, DType::kI32);
  CONCLAVE_CHECK(mask.window >= 0, "[kernels/{}] a window has at least one key, or 0 for none; got {}", op,
                 mask.window);
  CONCLAVE_CHECK(dropout.rate >= 0 && dropout.rate < 1, "[kernels/{}] the rate must be in [0, 1); got {}", op,
                 dropout.rate);
  CONCLAVE_CHECK(dropout.rate == 0 || static_cast<int64_t>(dropout.streams.size()) == shape.batch,
                 "[kernels/{}] {} random streams for {} sequences", op, dropout.streams.size(), shape.batch);
}

// Pairs of a query and a key that it sees, over all heads; the bounds of documents are not known here.
double visible_pairs(const AttentionShape& shape, const AttentionMask& mask) {
  double pairs = 0;
  for (int64_t i = 0; i < shape.queries; ++i) {
    const int64_t self = i + shape.offset();
    const int64_t last = mask.causal ? std::min(std::max<int64_t>(self + 1, 0), shape.keys) : shape.keys;
    const int64_t first = mask.window > 0 ? std::max<int64_t>(self + 1 - mask.window, 0) : 0;
    pairs += static_cast<double>(std::max<int64_t>(last - first, 0));
  }
  return pairs * static_cast<double>(shape.batch * shape.heads);
}

AttentionShape placed(AttentionShape shape, const AttentionMask& mask) {
  shape.place = mask.place.value_or(AttentionPlace{.first_head = 0,
                                                   .first_query = shape.keys - shape.queries,
                                                   .first_key = 0,
                                                   .queries = shape.keys,
                                                   .keys = shape.keys});
  return shape;
}

}  // namespace

AttentionShape attention_shape(const AttentionForwardArgs& args) {
  const int64_t stored = args.k.size(2);
  return placed({args.q.size(0),
                 args.q.size(1),
                 args.k.size(1),
                 args.q.size(2),
                 args.key_count > 0 ? args.key_count : stored,
                 stored,
                 args.q.size(3),
                 args.v.size(3),
                 {}},
                args.mask);
}
AttentionShape attention_shape(const AttentionBackwardArgs& args) {
  return placed({args.q.size(0),
                 args.q.size(1),
                 args.k.size(1),
                 args.q.size(2),
                 args.k.size(2),
                 args.k.size(2),
                 args.q.size(3),
                 args.v.size(3),
                 {}},
                args.mask);
}

void attention_forward(const Stream& stream, const AttentionForwardArgs& args) {
  const char* op = "attention_forward";
  check_heads(op, args.q, args.k, args.v);
  const AttentionShape shape = attention_shape(args);
  CONCLAVE_CHECK(args.key_count >= 0 && args.key_count <= shape.key_stride,
                 "[kernels/{}] {} keys of a cache that holds {}", op, args.key_count, shape.key_stride);
  check_tensor(op, "out", args.out, {shape.queries, shape.batch, shape.heads * shape.value_size}, args.q.dtype());
  if (args.lse) check_tensor(op, "lse", args.lse, {shape.batch, shape.heads, shape.queries}, DType::kF32);
  if (args.max_logit)
    check_tensor(op, "max_logit", args.max_logit, {shape.batch, shape.heads, shape.queries}, DType::kF32);
  check_sink(op, args.q, args.sink, {});
  check_rest(op, shape, args.mask, args.dropout);
  const bool on_cuda = stream.device().kind() == DeviceKind::kCuda;
  const AttentionForwardWork work{
      args, Tensor::empty(stream.device(),
                          on_cuda ? Shape{cuda::attention_scratch_bytes(args)}
                                  : cpu::attention_forward_scratch(shape, args.q.dtype()),
                          on_cuda ? DType::kU8 : DType::kF32, {MemoryCategory::kWorkspace, "attention blocks"})};
  CONCLAVE_KERNEL_DISPATCH(attention_forward, stream, work);
}

Cost attention_forward_cost(const AttentionForwardArgs& args) {
  const AttentionShape shape = attention_shape(args);
  const double keys_read =
      static_cast<double>(shape.batch * shape.groups * shape.keys * (shape.size + shape.value_size));
  return {2 * visible_pairs(shape, args.mask) * static_cast<double>(shape.size + shape.value_size),
          static_cast<double>(args.q.bytes() + args.out.bytes() + (args.lse ? args.lse.bytes() : 0)) +
              keys_read * static_cast<double>(dtype_size(args.q.dtype()))};
}

void attention_backward(const Stream& stream, const AttentionBackwardArgs& args) {
  const char* op = "attention_backward";
  check_heads(op, args.q, args.k, args.v);
  const AttentionShape shape = attention_shape(args);
  const DType dtype = args.q.dtype();
  const Shape out_shape{shape.queries, shape.batch, shape.heads * shape.value_size};
  check_tensor(op, "out", args.out, out_shape, dtype);
  check_tensor(op, "dout", args.dout, out_shape, dtype);
  check_tensor(op, "lse", args.lse, {shape.batch, shape.heads, shape.queries}, DType::kF32);
  check_tensor(op, "dq", args.dq, args.q.shape(), dtype);
  check_tensor(op, "dk", args.dk, args.k.shape(), dtype);
  check_tensor(op, "dv", args.dv, args.v.shape(), dtype);
  check_sink(op, args.q, args.sink, args.dsink);
  check_rest(op, shape, args.mask, args.dropout);
  const auto workspace = [&](const Shape& of, const char* name, DType type = DType::kF32) {
    return Tensor::empty(stream.device(), of, type, {MemoryCategory::kWorkspace, name});
  };
  AttentionBackwardWork work{args, workspace(args.lse.shape(), "attention: gradient times output"), {}, {}};
  constexpr int64_t kWhole = 16;
  const bool on_cuda = stream.device().kind() == DeviceKind::kCuda;
  if (!on_cuda && (dtype != DType::kF32 || shape.size % kWhole != 0))
    work.dq_sums = workspace({shape.batch, shape.heads, shape.queries, round_up(shape.size, kWhole)},
                             "attention: gradient of the queries");
  constexpr const char* kBlocks = "attention blocks";
  work.scratch = on_cuda ? workspace({cuda::attention_scratch_bytes(args)}, kBlocks, DType::kU8)
                         : workspace(cpu::attention_backward_scratch(shape, dtype), kBlocks);
  CONCLAVE_KERNEL_DISPATCH(attention_backward, stream, work);
}

Cost attention_backward_cost(const AttentionBackwardArgs& args) {
  const AttentionShape shape = attention_shape(args);
  return {2 * visible_pairs(shape, args.mask) * static_cast<double>(3 * shape.size + 2 * shape.value_size),
          static_cast<double>(2 * (args.q.bytes() + args.k.bytes() + args.v.bytes() + args.out.bytes()) +
                              args.lse.bytes())};
}

}  // namespace conclave::kernels
