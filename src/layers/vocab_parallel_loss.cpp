#include "layers/vocab_parallel_loss.h"

#include <algorithm>

#include "kernels/gemm.h"
#include "kernels/vocab_loss.h"

namespace conclave {
namespace {

constexpr int64_t kChunkBytes = 8 << 20;  // of f32 logits
constexpr int64_t kFewestRows = 64;

void run_chunk(const Context& context, const VocabParallelLossArgs& args, int64_t begin, int64_t end) {
  const Stream stream = context.stream;
  Communicator& group = context.groups->of(GroupKind::kTensor);
  const int64_t rows = end - begin, columns = args.table.size(0);
  const Tensor hidden = args.hidden.slice(begin, end), labels = args.targets.labels.slice(begin, end);
  const Tensor logits = context.empty({rows, columns}, DType::kF32, "loss.logits");
  kernels::gemm(stream, {.a = hidden, .b = args.table, .c = logits, .transpose_b = kernels::Transpose::kYes});
  const Tensor maximum = context.empty({rows}, DType::kF32, "loss.maximum");
  kernels::vocab_row_maximum(stream, {.logits = logits, .maximum = maximum});
  group.all_reduce(stream, maximum, ReduceOp::kMax, "loss.maximum");
  const Tensor sums = context.empty({2, rows}, DType::kF32, "loss.sums");
  kernels::vocab_exponentials(
      stream, {.logits = logits, .maximum = maximum, .labels = labels, .sums = sums, .first_id = args.first_id});
  group.all_reduce(stream, sums, ReduceOp::kSum, "loss.sums");
  kernels::VocabLossArgs loss{.exponentials = logits,
                              .sums = sums,
                              .labels = labels,
                              .loss = args.loss.slice(begin, end),
                              .first_id = args.first_id,
                              .vocabulary = args.vocabulary};
  if (args.dhidden.defined()) {
    loss.row_weight = args.targets.row_weight.slice(begin, end);
    loss.gradient = context.empty({rows, columns}, "loss.dlogits");
  }
  kernels::vocab_loss(stream, loss);
  if (!args.dhidden.defined()) return;
  kernels::linear_input_gradient(stream, loss.gradient, args.table, args.dhidden.slice(begin, end));
  kernels::linear_weight_gradient(stream, loss.gradient, hidden, args.dtable);
}

}  // namespace

void vocab_parallel_loss(const Context& context, const VocabParallelLossArgs& args) {
  // Cut by the largest share, so that all ranks make the same chunks.
  const int64_t widest = vocabulary_rows(args.vocabulary, {0, context.groups->part().tensor.size}).size;
  const int64_t chunk = std::max(kFewestRows, kChunkBytes / (widest * static_cast<int64_t>(sizeof(float))));
  for (int64_t begin = 0; begin < args.hidden.size(0); begin += chunk)
    run_chunk(context, args, begin, std::min(begin + chunk, args.hidden.size(0)));
}

}  // namespace conclave
