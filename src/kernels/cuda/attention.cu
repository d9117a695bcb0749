#include <cuda_bf16.h>

#include <optional>

#include "kernels/attention_backend.h"
#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/attention_matrix.h"
#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/launch.h"

namespace conclave::kernels::cuda {
namespace {

template <typename T>
T* pointer(const Tensor& tensor) {
  return tensor.defined() ? reinterpret_cast<T*>(tensor.raw()) : nullptr;
}

/// What cuDNN needs to know of a call, or nothing where it cannot do it.
template <typename Args>
std::optional<LibraryAttention> library_call(const Args& args) {
  const AttentionShape s = attention_shape(args);
  const auto aligned = [](const Tensor& tensor) { return reinterpret_cast<uintptr_t>(tensor.raw()) % 16 == 0; };
  const bool ours = args.q.dtype() != DType::kBF16 || args.dropout.rate > 0 || args.sink || args.mask.document_starts ||
                    s.offset() != s.keys - s.queries || s.queries > s.keys || s.queries == 0 || s.batch == 0 ||
                    s.heads == 0 || s.size % 8 != 0 || s.value_size % 8 != 0 || s.value_size == 0 || !aligned(args.q) ||
                    !aligned(args.k) || !aligned(args.v) || !aligned(args.out);
  if (ours) return std::nullopt;
  LibraryAttention call;
  call.batch = s.batch;
  call.heads = s.heads;
  call.groups = s.groups;
  call.queries = s.queries;
  call.keys = s.keys;
  call.key_stride = s.key_stride;
  call.size = s.size;
  call.value_size = s.value_size;
  call.causal = args.mask.causal;
  call.window = args.mask.window;
  call.scale = args.scale;
  call.q = args.q.raw();
  call.k = args.k.raw();
  call.v = args.v.raw();
  call.out = args.out.raw();
  call.lse = args.lse ? args.lse.template data<float>() : nullptr;
  return call;
}

std::optional<LibraryAttention> library_forward(const AttentionForwardArgs& args) {
  return args.max_logit ? std::nullopt : library_call(args);
}

std::optional<LibraryAttention> library_backward(const AttentionBackwardArgs& args) {
  std::optional<LibraryAttention> call = library_call(args);
  if (!call) return call;
  call->dout = args.dout.raw();
  call->dq = args.dq.raw();
  call->dk = args.dk.raw();
  call->dv = args.dv.raw();
  for (const void* pointer : {call->dout, static_cast<const void*>(call->dq), static_cast<const void*>(call->dk),
                              static_cast<const void*>(call->dv)})
    if (reinterpret_cast<uintptr_t>(pointer) % 16 != 0) return std::nullopt;
  return call;
}

/// Whether cuDNN did it.
bool run_library(const std::optional<LibraryAttention>& call, AttentionPass pass, const Tensor& scratch,
                 const Stream& stream) {
  if (!call || cudnn_attention_workspace(*call, pass) < 0) return false;
  cudnn_attention(*call, pass, scratch.raw(), cuda_stream(stream));
  return true;
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

// Our own kernels: on the matrix units where they take the case.

void pass_forward(const PlainAttention<float>& args, cudaStream_t stream) { plain_attention_forward(args, stream); }
void pass_forward(const PlainAttention<__nv_bfloat16>& args, cudaStream_t stream) {
  matrix_attention_serves(args) ? matrix_attention_forward(args, stream) : plain_attention_forward(args, stream);
}
void pass_backward(const PlainAttention<float>& args, cudaStream_t stream) { plain_attention_backward(args, stream); }
void pass_backward(const PlainAttention<__nv_bfloat16>& args, cudaStream_t stream) {
  matrix_attention_serves(args) ? matrix_attention_backward(args, stream) : plain_attention_backward(args, stream);
}

template <typename T>
void forward(const Stream& stream, const AttentionForwardArgs& args) {
  PlainAttention<T> plain = plain_of<T>(args);
  plain.out = pointer<T>(args.out);
  plain.lse = pointer<float>(args.lse);
  plain.max_logit = pointer<float>(args.max_logit);
  if (plain.queries == 0 || plain.heads == 0) return;
  in_batches(plain, args.dropout, [&](const PlainAttention<T>& some) { pass_forward(some, cuda_stream(stream)); });
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
  in_batches(plain, args.dropout, [&](const PlainAttention<T>& some) { pass_backward(some, cuda_stream(stream)); });
}

}  // namespace

int64_t attention_scratch_bytes(const AttentionForwardArgs& args) {
  const auto call = library_forward(args);
  return call ? std::max<int64_t>(cudnn_attention_workspace(*call, AttentionPass::kForward), 0) : 0;
}
int64_t attention_scratch_bytes(const AttentionBackwardArgs& args) {
  const auto call = library_backward(args);
  return call ? std::max<int64_t>(cudnn_attention_workspace(*call, AttentionPass::kBackward), 0) : 0;
}

void attention_forward(const Stream& stream, const AttentionForwardWork& work) {
  if (run_library(library_forward(work.args), AttentionPass::kForward, work.scratch, stream)) return;
  if (work.args.q.dtype() == DType::kBF16) {
    forward<__nv_bfloat16>(stream, work.args);
  } else {
    forward<float>(stream, work.args);
  }
}

void attention_backward(const Stream& stream, const AttentionBackwardWork& work) {
  if (run_library(library_backward(work.args), AttentionPass::kBackward, work.scratch, stream)) return;
  if (work.args.q.dtype() == DType::kBF16) {
    backward<__nv_bfloat16>(stream, work);
  } else {
    backward<float>(stream, work);
  }
}

}  // namespace conclave::kernels::cuda
