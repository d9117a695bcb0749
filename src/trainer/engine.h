// A model on a device and the steps it can take: the one code path that trains, evaluates and is simulated.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/options.h"
#include "data/batch_source.h"
#include "models/gpt.h"
#include "moe/routing_trace.h"
#include "optim/training_store.h"
#include "pipeline/executor.h"
#include "trainer/batch_upload.h"
#include "trainer/recorded_passes.h"

namespace conclave {

/// What one training step gave. On `sim` every number that data decide is 0.
struct StepResult {
  double loss_sum = 0;  ///< sum of masked token losses over the step
  double tokens = 0;    ///< valid tokens
  double lm_loss() const { return loss_sum / (tokens > 0 ? tokens : 1); }
  std::vector<double> prediction_losses;  ///< by depth: mean over micro-batches of its loss per valid token, no factor
  double gradient_norm = 0;
  std::optional<int64_t> zero_gradients;
  std::optional<double> weight_norm;
  bool updated = false;
};

/// What a step should do beside the update.
struct StepRequest {
  int64_t iteration = 0;  ///< number of the step in the run
  UpdateRates rates;
  double clip = 1.0;
  bool update = true;        ///< false: everything but the update (an iteration to skip)
  bool check_finite = true;  ///< throw NonFiniteStep instead of updating with a bad loss or gradient
  bool count_zeros = false;
  bool weight_norm = false;
  std::function<void()> on_gradients;  ///< after finalising, before clipping
  /// Before the update, with the step's mean loss and gradient norm; what it throws ends the step with nothing updated.
  std::function<void(double loss, double gradient_norm)> check;
};

/// Loss or gradient norm was NaN or infinite; nothing was updated, so the step can be run again.
class NonFiniteStep : public Error {
 public:
  NonFiniteStep(double loss_sum, double gradient_norm);
  double loss_sum;
  double gradient_norm;
};

/// How the routers fared since this was last asked.
struct RoutingSummary {
  struct Layer {
    int64_t layer = 0;
    RoutingReport report;
  };
  std::vector<Layer> layers;
  /// A balancing or z-loss of one layer, without coefficient: mean over micro-batches. 0 if it is off.
  static double layer_mean(const Layer& layer, const std::string& name);
  /// The same, mean over the MoE layers.
  std::map<std::string, double> means() const;
};

struct EvaluationSum {
  double loss_sum = 0;
  double tokens = 0;
};

/// All members of a layout's groups call train_step, evaluate, take_routing and next_logits together; results are of
/// the whole job and the same on every rank.
class Engine {
 public:
  /// `trains`: with gradients and optimizer state. Weights are initialised from options.training.seed. `groups` must
  /// outlive the engine.
  Engine(const Options& options, int64_t vocab, Device& device, bool trains,
         ProcessGroups& groups = ProcessGroups::single());

  /// `micro_batches` of this data-parallel rank; every one has as many.
  StepResult train_step(std::span<const MicroBatch> micro_batches, const StepRequest& request);
  EvaluationSum evaluate(const MicroBatch& batch);
  /// Reads the routers' statistics and starts them anew. Waits for the device.
  RoutingSummary take_routing();
  /// Logits [V] after the last token of a batch of one sequence, whose positions follow those in the cache.
  std::vector<float> next_logits(const MicroBatch& batch, KvCache& cache);
  /// Logits [T,V] of all positions, row t = s*B + b. Collective over the model's ranks.
  std::vector<float> logits(const MicroBatch& batch);

  TrainingStore& store() { return *store_; }
  const std::vector<std::unique_ptr<GptChunk>>& chunks() const { return chunks_; }
  const ModelSpec& spec() const { return spec_; }
  Device& device() { return device_; }
  ProcessGroups& groups() { return groups_; }
  StepExecutor& executor() { return *executor_; }
  /// Order of work; the same results for every legal one.
  void set_schedule(std::function<std::vector<StepAction>(int64_t)> schedule) { schedule_ = std::move(schedule); }
  /// Token losses [T] of each micro-batch of a step, row t = s*B + b, as they come; on ranks that hold the output.
  void on_token_losses(std::function<void(int64_t micro_batch, const Tensor& losses)> callback) {
    on_token_losses_ = std::move(callback);
  }
  DeviceBatch upload(const MicroBatch& batch, double row_weight) { return uploader_->upload(batch, row_weight); }
  /// Forward, and backward from a gradient of ones, of the layers alone: benchmarks.
  void layer_pass(const DeviceBatch& batch, bool backward);

 private:
  Options options_;
  Device& device_;
  ProcessGroups& groups_;
  ModelSpec spec_;
  PipelinePart pipeline_;
  std::unique_ptr<TrainingStore> store_;
  std::vector<std::unique_ptr<GptChunk>> chunks_;
  std::unique_ptr<SavePolicy> save_policy_;
  std::unique_ptr<StepExecutor> executor_;
  std::unique_ptr<BatchUploader> uploader_;
  std::unique_ptr<RecordedPasses> recorded_;  ///< with --cuda-graph-impl full_iteration
  std::unique_ptr<RoutingTrace> trace_;       ///< of routing, if it is written or replayed
  std::unique_ptr<const RoutingLoad> load_;   ///< on `sim`
  WeightGradientQueue no_gradients_;
  std::function<std::vector<StepAction>(int64_t)> schedule_;
  std::function<void(int64_t, const Tensor&)> on_token_losses_;

  struct Progress;
  void follow_routing();
  std::vector<const TransformerLayer*> moe_layers() const;
  Tensor zero_sums(int64_t count) const;
  void sum_over_job(const Tensor& sums) const;
  std::vector<float> forward_logits(const MicroBatch& batch, KvCache* cache, int64_t positions);
  std::vector<float> whole_sequence(const Tensor& part, int64_t sequence, int64_t batch) const;
  LossWeights loss_weights(const MicroBatch& first, int64_t micro_batches) const;
  StepCallbacks callbacks(std::span<const MicroBatch> micro_batches, const StepRequest& request, Progress* progress);
  void run_step(std::span<const MicroBatch> micro_batches, const StepRequest& request, Progress* progress);
  void count_again(std::span<const MicroBatch> micro_batches) const;
  void add_losses(const DeviceBatch& batch, const LossResult& loss, Progress* progress) const;
  void finalize(const StepRequest& request, Progress* progress);
  void clip(const StepRequest& request, Progress* progress);
  void update(const StepRequest& request, Progress* progress);
};

/// The save policies that the options ask for.
SelectivePolicy selective_policy(const MemoryOptions& memory);
FullRecompute full_recompute(const MemoryOptions& memory);

}  // namespace conclave
