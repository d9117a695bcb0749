#include "kernels/random_logits.h"

namespace conclave::kernels {
CONCLAVE_KERNEL_BACKENDS(random_logits, RandomLogitsArgs)

void random_logits(const Stream& stream, const RandomLogitsArgs& args) {
  const char* op = "random_logits";
  CONCLAVE_CHECK(args.logits.defined() && args.logits.rank() == 2, "[kernels/{}] logits must be [T,E]; got {}", op,
                 describe(args.logits));
  const auto batch = static_cast<int64_t>(args.streams.size());
  CONCLAVE_CHECK(batch > 0 && args.logits.size(0) % batch == 0,
                 "[kernels/{}] one stream for each sequence; got {} streams for {} rows", op, batch,
                 args.logits.size(0));
  CONCLAVE_KERNEL_DISPATCH(random_logits, stream, args);
}

Cost random_logits_cost(const RandomLogitsArgs& args) {
  return {100 * static_cast<double>(args.logits.element_count()), static_cast<double>(args.logits.bytes())};
}

}  // namespace conclave::kernels
