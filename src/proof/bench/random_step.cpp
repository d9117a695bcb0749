#include "proof/bench/random_step.h"

#include <random>

namespace conclave::proof {

std::vector<MicroBatch> random_step(const Options& options, int64_t vocab, int64_t step) {
  const int64_t micro = options.training.micro_batch_size;
  std::mt19937_64 random(static_cast<uint64_t>(options.training.seed + step));
  std::vector<MicroBatch> out;
  for (int64_t i = 0; i < options.training.global_batch_size / micro; ++i) {
    MicroBatch batch = plain_batch(micro, options.model.seq_length, i * micro);
    for (int32_t& token : batch.tokens) token = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab));
    for (int32_t& token : batch.labels) token = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab));
    out.push_back(std::move(batch));
  }
  return out;
}

void one_step(Engine& engine, const std::vector<MicroBatch>& batches, int64_t step, double clip) {
  StepRequest request;
  request.rates = {.lr = 1e-4, .decoupled_lr = 1e-4, .weight_decay = 0.01, .step = step};
  request.check_finite = !engine.device().is_sim();
  request.clip = clip;
  engine.train_step(batches, request);
}

}  // namespace conclave::proof
