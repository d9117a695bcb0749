#include "proof/parity.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/safetensors.h"
#include "config/validate.h"
#include "convert/hf_import.h"
#include "kernels/elementwise.h"
#include "proof/whole_tensors.h"
#include "trainer/engine.h"
#include "trainer/hf_model.h"
#include "trainer/job.h"

namespace conclave::proof {
namespace {

/// Allowed absolute differences for values of size about 1; f32 as Transformers' own f32 and f64 differ.
struct Tolerances {
  double logits = 2e-5, loss = 1e-5, gradient = 1e-4, floor = 1e-7;
};

Tolerances tolerances(const Options& options) {
  if (!options.precision.bf16) return {};
  constexpr double kUlp = 0x1p-8;
  return {16 * kUlp, 4 * kUlp, 16 * kUlp, kUlp};
}

class ParityRun {
 public:
  ParityRun(const std::string& directory, const std::string& reference, ParsedOptions parsed, World& world)
      : weights_(directory), reference_(reference) {
    take_hugging_face(parsed, weights_);
    take_batch(parsed, world.size());
    options_ = checked_options(parsed, Command::kTrain);
    device_ = make_device(options_.device.device);
    groups_ = make_job_groups(options_, world);
    engine_ = std::make_unique<Engine>(options_, weights_.spec().vocab, *device_, true, *groups_);
    load_engine(*engine_, weights_);
    tolerances_ = tolerances(options_);
  }

  ParityReport run() {
    const int64_t own = options_.training.micro_batch_size;
    compare("logits", reference_.at("logits").to_vector<float>(), logits(samples(0, sample_count())),
            [this](double, double deviation) { return tolerances_.logits * std::max(1.0, deviation); });
    StepRequest request;
    request.update = false;
    request.check_finite = false;
    request.on_gradients = [this] { compare_gradients(); };
    report_.rows.reserve(report_.rows.size() + 1);
    const size_t place = report_.rows.size();
    report_.rows.emplace_back();
    const MicroBatch batch = samples(groups_->layout().dense(groups_->rank()).data * own, own);
    const StepResult result = engine_->train_step(std::span(&batch, 1), request);
    report_.loss = result.lm_loss();
    const double want = reference_.at("loss").to_vector<float>().at(0);
    ParityRow& row = report_.rows[place];
    row = {"loss", std::fabs(report_.loss - want), std::fabs(report_.loss - want) / std::max(std::fabs(want), 1e-30),
           tolerances_.loss * std::max(1.0, std::fabs(want)), ""};
    return report_;
  }

 private:
  HuggingFaceWeights weights_;
  SafetensorsFile reference_;
  Options options_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<ProcessGroups> groups_;
  std::unique_ptr<Engine> engine_;
  Tolerances tolerances_;
  ParityReport report_;

  int64_t sample_count() const { return reference_.at("input_ids").shape[0]; }

  // A step of one micro-batch for each data-parallel rank, without dropout or balancing losses.
  void take_batch(ParsedOptions& parsed, int64_t ranks) {
    const SafetensorsEntry& ids = reference_.at("input_ids");
    CONCLAVE_USER_CHECK(ids.shape.size() == 2 && ids.shape[0] > 0 && ids.shape[1] > 0, "'{}': input_ids must be [B, S]",
                        reference_.path());
    Options& options = parsed.options;
    const ParallelOptions& parallel = options.parallel;
    const int64_t data =
        std::max<int64_t>(ranks / (parallel.tensor_model_parallel_size * parallel.pipeline_model_parallel_size *
                                   parallel.context_parallel_size),
                          1);
    CONCLAVE_USER_CHECK(ids.shape[0] % data == 0,
                        "'{}' has {} samples, which do not divide among {} data-parallel ranks; "
                        "choose a layout with a data-parallel size that divides them",
                        reference_.path(), ids.shape[0], data);
    options.training.micro_batch_size = ids.shape[0] / data;
    options.training.global_batch_size = ids.shape[0];
    options.model.calculate_per_token_loss = data > 1;  // the reference's loss is the mean over all tokens
    options.model.seq_length = ids.shape[1];
    options.training.train_iters = 1;
    options.optimizer.lr = 1;
    options.data.mock_data = true;
    options.model.attention_dropout = options.model.hidden_dropout = 0;
    options.moe.moe_input_jitter_eps = 0;
    options.moe.moe_router_load_balancing_type = {"none"};
    options.attention.mtp_loss_scaling_factor = 0;  // the reference has the model's own loss alone
  }

  std::vector<int64_t> integers(const char* name) const {
    const SafetensorsEntry& entry = reference_.at(name);
    CONCLAVE_USER_CHECK(entry.shape == reference_.at("input_ids").shape, "'{}': {} must have the shape of input_ids",
                        reference_.path(), name);
    return entry.to_vector<int64_t>();
  }

  MicroBatch samples(int64_t first, int64_t count) const {
    const int64_t length = options_.model.seq_length, vocab = weights_.spec().vocab;
    MicroBatch batch = plain_batch(count, length, first);
    const std::vector<int64_t> ids = integers("input_ids"), labels = integers("labels");
    for (int64_t i = 0; i < count * length; ++i) {
      const int64_t id = ids[static_cast<size_t>(first * length + i)],
                    label = labels[static_cast<size_t>(first * length + i)];
      CONCLAVE_USER_CHECK(id >= 0 && id < vocab && label >= -100 && label < vocab,
                          "'{}': token {} with label {} is outside the vocabulary of {}", reference_.path(), id, label,
                          vocab);
      batch.tokens[static_cast<size_t>(i)] = static_cast<int32_t>(id);
      batch.labels[static_cast<size_t>(i)] = static_cast<int32_t>(std::max<int64_t>(label, 0));
      batch.loss_mask[static_cast<size_t>(i)] = label < 0 ? 0.0f : 1.0f;
    }
    return batch;
  }

  // [B,S,V].
  std::vector<float> logits(const MicroBatch& host) {
    const std::vector<float> rows = engine_->logits(host);
    std::vector<float> out(rows.size());
    const auto vocab = static_cast<size_t>(weights_.spec().vocab), count = static_cast<size_t>(host.batch),
               length = static_cast<size_t>(host.seq_length);
    for (size_t t = 0; t < count * length; ++t)
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(t * vocab), vocab,
                  out.begin() + static_cast<std::ptrdiff_t>((t % count * length + t / count) * vocab));
    return out;
  }

  template <typename Allowed>
  void compare(const std::string& name, const std::vector<float>& want, const std::vector<float>& got,
               Allowed allowed) {
    ParityRow row;
    row.name = name;
    if (want.size() != got.size()) {
      row.fault = fmt::format("the reference has {} values, the model {}", want.size(), got.size());
      report_.rows.push_back(row);
      return;
    }
    double largest = 0, squares = 0;
    bool finite = true;
    for (size_t i = 0; i < want.size(); ++i) {
      const double wanted = want[i], difference = std::fabs(static_cast<double>(got[i]) - wanted);
      finite = finite && std::isfinite(difference);
      row.difference = std::max(row.difference, difference);
      largest = std::max(largest, std::fabs(wanted));
      squares += wanted * wanted;
    }
    if (!finite) row.difference = std::nan("");
    row.relative = row.difference / std::max(largest, 1e-30);
    row.allowed = allowed(largest, std::sqrt(squares / static_cast<double>(std::max<size_t>(want.size(), 1))));
    report_.rows.push_back(row);
  }

  void compare_gradients() {
    std::set<std::string> seen;
    JobTensors gradients(*engine_, engine_->store().owned_gradients());
    for (const TensorPlace& place : weights_.places()) {
      if (place.repeated) continue;
      const std::vector<float>& ours = gradients.whole(place.ours);  // empty: a buffer
      const SafetensorsEntry* want = reference_.find("grad." + place.name);
      // Transformers does not run prediction depths.
      if (want == nullptr && (ours.empty() || place.ours.starts_with("mtp."))) continue;
      seen.insert("grad." + place.name);
      if (ours.empty() || want == nullptr) {
        report_.rows.push_back({.name = "grad." + place.name,
                                .fault = want == nullptr ? "the reference has no such gradient"
                                                         : "this is a buffer here and has no gradient"});
        continue;
      }
      std::vector<float> theirs;
      for (const PlaceRun& run : place.runs)
        theirs.insert(theirs.end(), ours.begin() + run.ours, ours.begin() + run.ours + run.count);
      compare("grad." + place.name, want->to_vector<float>(), theirs,
              [this](double largest, double) { return tolerances_.gradient * largest + tolerances_.floor; });
    }
    for (const SafetensorsEntry& entry : reference_.entries()) {
      if (entry.name.starts_with("grad.") && !seen.contains(entry.name))
        report_.rows.push_back({.name = entry.name, .fault = "the model has no such weight"});
    }
  }
};

}  // namespace

bool ParityReport::passed() const {
  return !rows.empty() && std::all_of(rows.begin(), rows.end(), [](const ParityRow& row) { return row.passed(); });
}

std::string ParityReport::first_fault() const {
  for (const ParityRow& row : rows) {
    if (row.passed()) continue;
    if (!row.fault.empty()) return fmt::format("{}: {}", row.name, row.fault);
    return fmt::format("{}: off by {:.3g} ({:.3g} of the largest value), {:.3g} is allowed", row.name, row.difference,
                       row.relative, row.allowed);
  }
  return "";
}

ParityReport run_parity(const std::string& directory, const std::string& reference, ParsedOptions parsed,
                        World& world) {
  return ParityRun(directory, reference, std::move(parsed), world).run();
}

ParityReport run_parity(const std::string& directory, const std::string& reference, const ParsedOptions& parsed) {
  ParityReport report;
  std::mutex mutex;
  run_job(parsed, [&](World& world, const ParsedOptions& laid_out) {
    ParityReport own = run_parity(directory, reference, laid_out, world);
    const std::lock_guard lock(mutex);
    report = std::move(own);  // every rank's is the same
    return 0;
  });
  return report;
}

}  // namespace conclave::proof
