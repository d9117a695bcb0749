// Small models for tests of the trainer.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "config/parse.h"
#include "config/validate.h"
#include "trainer/engine.h"

namespace conclave {

using Words = std::vector<std::string>;

/// A four-layer MoE with dropout, a shared expert, losses and biases off; later words win.
inline Words small_moe_words(const Words& more = {}) {
  Words words = {"--num-layers",
                 "4",
                 "--hidden-size",
                 "32",
                 "--num-attention-heads",
                 "4",
                 "--seq-length",
                 "24",
                 "--ffn-hidden-size",
                 "64",
                 "--moe-ffn-hidden-size",
                 "48",
                 "--num-experts",
                 "6",
                 "--moe-router-topk",
                 "2",
                 "--moe-aux-loss-coeff",
                 "0.01",
                 "--moe-z-loss-coeff",
                 "0.001",
                 "--moe-layer-freq",
                 "[1,0,1,1]",
                 "--moe-shared-expert-intermediate-size",
                 "32",
                 "--moe-grouped-gemm",
                 "--swiglu",
                 "--disable-bias-linear",
                 "--normalization",
                 "RMSNorm",
                 "--position-embedding-type",
                 "rope",
                 "--untie-embeddings-and-output-weights",
                 "--attention-dropout",
                 "0.1",
                 "--hidden-dropout",
                 "0.1",
                 "--micro-batch-size",
                 "2",
                 "--global-batch-size",
                 "6",
                 "--train-iters",
                 "10",
                 "--lr",
                 "1e-2",
                 "--mock-data",
                 "--vocab-size",
                 "64"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}
inline Options small_moe(const Words& more = {}) {
  return checked_options(parse_command_line(Command::kTrain, small_moe_words(more)), Command::kTrain);
}

/// Turns small_moe into latent attention with a query rank and norms, and two prediction depths.
inline Words latent_words() {
  return {"--multi-latent-attention",
          "--q-lora-rank",
          "12",
          "--kv-lora-rank",
          "8",
          "--qk-head-dim",
          "8",
          "--qk-pos-emb-head-dim",
          "4",
          "--v-head-dim",
          "6",
          "--qk-layernorm",
          "--rotary-scaling-factor",
          "4",
          "--mscale-all-dim",
          "0.7",
          "--mtp-num-layers",
          "2"};
}

/// Micro-batches of step `step` with random tokens.
inline std::vector<MicroBatch> random_batches(const Options& options, int64_t step) {
  const int64_t micro = options.training.micro_batch_size, count = options.training.global_batch_size / micro;
  std::mt19937 random(static_cast<uint32_t>(1000 + step));
  std::vector<MicroBatch> out;
  for (int64_t m = 0; m < count; ++m) {
    MicroBatch batch = plain_batch(micro, options.model.seq_length, (step * count + m) * micro);
    for (int32_t& token : batch.tokens)
      token = static_cast<int32_t>(random() % static_cast<uint32_t>(options.model.vocab_size));
    for (int32_t& token : batch.labels)
      token = static_cast<int32_t>(random() % static_cast<uint32_t>(options.model.vocab_size));
    for (float& mask : batch.loss_mask) mask = random() % 8 == 0 ? 0.0f : 1.0f;
    out.push_back(std::move(batch));
  }
  return out;
}

inline StepResult take_step(Engine& engine, const Options& options, int64_t step) {
  StepRequest request;
  request.rates = {.lr = 1e-2, .decoupled_lr = 1e-2, .weight_decay = 0.1, .step = step + 1};
  return engine.train_step(random_batches(options, step), request);
}

/// Every weight after the steps taken so far.
inline std::vector<std::vector<float>> all_weights(Engine& engine) {
  std::vector<std::vector<float>> out;
  for (const StateTensor& state : engine.store().state())
    out.push_back(to_host<float>(engine.device().default_stream(), state.tensor));
  return out;
}

}  // namespace conclave
