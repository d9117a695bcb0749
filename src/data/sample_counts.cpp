#include "data/sample_counts.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {

SampleCounts sample_counts(const SampleCountArgs& args) {
  CONCLAVE_CHECK(args.train_iters >= 0 && args.global_batch_size > 0 && args.eval_iters >= 0,
                 "{} steps of {}, {} evaluations", args.train_iters, args.global_batch_size, args.eval_iters);
  const int64_t round = args.eval_iters * args.eval_global_batch_size.value_or(args.global_batch_size);
  SampleCounts counts;
  counts.train = args.train_samples.value_or(args.train_iters * args.global_batch_size);
  counts.test = round;
  if (args.full_validation) return counts;
  int64_t rounds = 1;
  if (!args.skip_train && args.eval_interval) {
    CONCLAVE_USER_CHECK(*args.eval_interval > 0, "[data] --eval-interval is {}; it must be positive",
                        *args.eval_interval);
    const int64_t before = args.start_eval_at_iter.value_or(0) / *args.eval_interval;
    rounds = std::max<int64_t>(0, args.train_iters / *args.eval_interval + 1 - before);
  }
  counts.valid = rounds * round;
  return counts;
}

}  // namespace conclave
