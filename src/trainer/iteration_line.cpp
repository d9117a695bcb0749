#include "trainer/iteration_line.h"

#include <fmt/format.h>

#include <ctime>

#include "trainer/metrics.h"

namespace conclave {

std::string iteration_line_text(const IterationLine& line) {
  std::string out = fmt::format(" [{}] iteration {:8d}/{:8d} |", line.timestamp, line.iteration, line.train_iterations);
  out += fmt::format(" consumed samples: {:12d} |", line.consumed_samples);
  if (line.skipped_samples > 0) out += fmt::format(" skipped samples: {:12d} |", line.skipped_samples);
  out += fmt::format(" elapsed time per iteration (ms): {:.1f} |", line.step_ms);
  if (line.tflops) out += fmt::format(" throughput per GPU (TFLOP/s/GPU): {:.1f} |", *line.tflops);
  if (line.exact_tflops) {
    out += fmt::format(" exact causal (TFLOP/s): {:.3f}", *line.exact_tflops);
    if (line.ceiling_share) out += fmt::format(", {:.1f}% of the product ceiling", *line.ceiling_share * 100);
    out += " |";
  }
  out += fmt::format(" learning rate: {:.6E} |", line.learning_rate);
  out += fmt::format(" global batch size: {:5d} |", line.global_batch_size);
  for (const auto& [name, value] : line.losses) out += fmt::format(" {}: {:.6E} |", name, value);
  out += fmt::format(" loss scale: {:.1f} |", line.loss_scale);
  if (line.grad_norm) out += fmt::format(" grad norm: {:.3f} |", *line.grad_norm);
  if (line.zeros_in_gradient) out += fmt::format(" num zeros: {} |", *line.zeros_in_gradient);
  if (line.params_norm) out += fmt::format(" params norm: {:.3f} |", *line.params_norm);
  if (line.max_attention_logit) out += fmt::format(" max attention logit: {:.3f} |", *line.max_attention_logit);
  out += fmt::format(" number of skipped iterations: {:3d} |", line.skipped_iterations);
  out += fmt::format(" number of nan iterations: {:3d} |", line.nan_iterations);
  return out;
}

std::string validation_line_text(int64_t iteration, const std::string& split, double lm_loss) {
  return fmt::format(" validation loss at iteration {}{} | lm loss value: {:.6E} | lm loss PPL: {:.6E} |", iteration,
                     split == "test" ? " on test set" : "", lm_loss, perplexity(lm_loss));
}

std::string local_timestamp(double seconds) {
  const auto whole = static_cast<std::time_t>(seconds);
  std::tm parts{};
  localtime_r(&whole, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
  return text;
}

}  // namespace conclave
