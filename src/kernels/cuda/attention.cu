#include <cuda_bf16.h>

#include "kernels/attention_backend.h"
#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/launch.h"

namespace conclave::kernels::cuda {
namespace {

template <typename T>
T* pointer(const Tensor& tensor) {
  return tensor.defined() ? reinterpret_cast<T*>(tensor.raw()) : nullptr;
}

/// What both passes have.
template <typename T, typename Args>
PlainAttention<T> plain_of(const Args& args) {
  const AttentionShape shape = attention_shape(args);
  CONCLAVE_USER_CHECK(shape.size <= kPlainHeadSize && shape.value_size <= kPlainHeadSize,
                      "[kernels/attention] head sizes {} and {} are above {}, the largest on cuda; use --device cpu",
                      shape.size, shape.value_size, kPlainHeadSize);
  PlainAttention<T> plain;
  plain.batch = static_cast<int>(shape.batch);
  plain.heads = static_cast<int>(shape.heads);
  plain.groups = static_cast<int>(shape.groups);
  plain.queries = static_cast<int>(shape.queries);
  plain.keys = static_cast<int>(shape.keys);
  plain.key_stride = static_cast<int>(shape.key_stride);
  plain.size = static_cast<int>(shape.size);
  plain.value_size = static_cast<int>(shape.value_size);
  plain.first_head = shape.place.first_head;
  plain.first_query = shape.place.first_query;
  plain.first_key = shape.place.first_key;
  plain.all_queries = shape.place.queries;
  plain.all_keys = shape.place.keys;
  plain.causal = args.mask.causal;
  plain.window = args.mask.window;
  plain.scale = args.scale;
  plain.dropout = args.dropout.rate;
  plain.document_starts = pointer<const int32_t>(args.mask.document_starts);
  plain.q = pointer<const T>(args.q);
  plain.k = pointer<const T>(args.k);
  plain.v = pointer<const T>(args.v);
  plain.sink = pointer<const T>(args.sink);
  return plain;
}

/// Calls launch(plain) for as many sequences at a time as a launch can carry random streams for.
template <typename T, typename Launch>
void in_batches(PlainAttention<T>& plain, const AttentionDropout& dropout, Launch launch) {
  const int at_once = dropout.rate > 0 ? kStreamsAtOnce : 65535;
  for (plain.first_batch = 0; plain.first_batch < plain.batch; plain.first_batch += plain.batches) {
    plain.batches = std::min(at_once, plain.batch - plain.first_batch);
    for (int i = 0; i < plain.batches && dropout.rate > 0; ++i) {
      const RandomStream& stream = dropout.streams[static_cast<size_t>(plain.first_batch + i)];
      plain.streams[i] = {stream.key(), stream.ordinal()};
    }
    launch(plain);
  }
}

template <typename T>
void forward(const Stream& stream, const AttentionForwardArgs& args) {
  PlainAttention<T> plain = plain_of<T>(args);
  plain.out = pointer<T>(args.out);
  plain.lse = pointer<float>(args.lse);
  plain.max_logit = pointer<float>(args.max_logit);
  if (plain.queries == 0 || plain.heads == 0) return;
  in_batches(plain, args.dropout,
             [&](const PlainAttention<T>& some) { plain_attention_forward(some, cuda_stream(stream)); });
}

template <typename T>
void backward(const Stream& stream, const AttentionBackwardWork& work) {
  const AttentionBackwardArgs& args = work.args;
  PlainAttention<T> plain = plain_of<T>(args);
  plain.lse = pointer<float>(args.lse);
  plain.dout = pointer<const T>(args.dout);
  plain.forward_out = pointer<const T>(args.out);
  plain.delta = pointer<float>(work.delta);
  plain.dq = pointer<T>(args.dq);
  plain.dk = pointer<T>(args.dk);
  plain.dv = pointer<T>(args.dv);
  plain.dsink = pointer<float>(args.dsink);
  if (plain.heads == 0) return;
  plain_attention_delta(plain, cuda_stream(stream));
  in_batches(plain, args.dropout,
             [&](const PlainAttention<T>& some) { plain_attention_backward(some, cuda_stream(stream)); });
}

}  // namespace

void attention_forward(const Stream& stream, const AttentionForwardWork& work) {
  if (work.args.q.dtype() == DType::kBF16) {
    forward<__nv_bfloat16>(stream, work.args);
  } else {
    forward<float>(stream, work.args);
  }
}

void attention_backward(const Stream& stream, const AttentionBackwardWork& work) {
  if (work.args.q.dtype() == DType::kBF16) {
    backward<__nv_bfloat16>(stream, work);
  } else {
    backward<float>(stream, work);
  }
}

}  // namespace conclave::kernels::cuda
