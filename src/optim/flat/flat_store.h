// What the stores in flat buffers share: declaring, views, initial values, gradients, norms, updates, states. How
// gradients are summed and weights come back is what they differ in.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "optim/flat/flat_grid.h"
#include "optim/flat/gradient_reduction.h"
#include "optim/flat/weight_gathering.h"
#include "optim/training_store.h"

namespace conclave {

class FlatStore : public TrainingStore {
 public:
  FlatStore(const TrainingStoreArgs& args, bool sharded);

  Parameter* declare(ParameterSpec spec) override;
  void declare_buffer(BufferSpec spec) override;
  void allocate(uint64_t seed) override;

  Tensor acquire(const Parameter& parameter) override;
  void release(const Parameter&) override {}
  Tensor gradient(const Parameter& parameter, int use) override;
  void gradient_complete(const Parameter& parameter) override;
  Tensor buffer(const std::string& name) override;
  const std::vector<Parameter*>& parameters() const override { return parameters_; }
  const std::vector<BufferSpec>& buffers() const override { return buffer_specs_; }
  DType compute_dtype() const override { return compute_dtype_; }

  void begin_step(const Stream& stream, int64_t micro_batches) override;
  void finalize_gradients(const Stream& stream, double scale) override;
  ClipResult clip(const Stream& stream, double max_norm) override;
  void update(const Stream& stream, const UpdateRates& rates, const Tensor& gradient_scale) override;
  std::vector<StateTensor> state() override;
  std::vector<StateTensor> owned_state() override;
  std::vector<StateTensor> owned_gradients() override;
  void weights_changed(const Stream& stream) override;
  Tensor count_zero_gradients(const Stream& stream) override;
  Tensor weight_square_sum(const Stream& stream) override;
  Tensor main_weight(const Parameter& parameter) override;

 protected:
  /// Sums `gradients` [bucket length] so that at least the held piece is the sum over all data-parallel ranks.
  virtual void reduce(const FlatGrid& grid, const Bucket& bucket, const Stream& stream, const Tensor& gradients) = 0;
  /// Makes the compute weights of a bucket whole from every rank's owned piece.
  virtual void gather(const FlatGrid& grid, const Bucket& bucket, const Stream& stream) = 0;

 private:
  // A grid with what moves its gradients and weights, and lists of parts made once.
  struct Held {
    explicit Held(FlatGrid flat) : grid(std::move(flat)) {}
    FlatGrid grid;
    std::unique_ptr<GradientReduction> reduction;
    std::unique_ptr<WeightGathering> gathering;
    std::vector<Part> runs;       ///< held, of equal rates: one update each
    std::vector<Part> norms;      ///< owned, with gaps between: sums of squares
    std::vector<Part> pieces;     ///< held, with gaps between
    std::vector<FlatRange> rest;  ///< of the flat buffers, outside all pieces
  };
  struct Place {
    size_t grid = 0, slot = 0;
  };

  Device& device_;
  DType compute_dtype_;
  bool trains_;
  OptimizerConfig optimizer_;
  StoreConfig config_;
  bool sharded_;
  ProcessGroups& groups_;
  std::vector<std::unique_ptr<Held>> held_;  ///< dense, expert
  std::vector<std::unique_ptr<Parameter>> owned_parameters_;
  std::vector<Parameter*> parameters_;
  std::vector<Place> places_;  ///< by index of the parameter
  std::vector<BufferSpec> buffer_specs_;
  std::map<std::string, Tensor> buffers_;
  bool allocated_ = false;
  bool pieces_are_zero_ = false;  ///< gradients of the held pieces, since the last update

  const PlacedParameter& place_of(const Parameter& parameter) const;
  Held& held_of(const Parameter& parameter) { return *held_[places_[static_cast<size_t>(parameter.index)].grid]; }
  Tensor flat(int64_t elements, DType dtype, MemoryCategory category, const char* name) const;
  void allocate_weights(Held& held, uint64_t seed);
  void allocate_training(Held& held);
  void find_parts(Held& held) const;
  void initialize(const Stream& stream, const FlatGrid& grid, const Part& part, uint64_t seed) const;
  void sum_over_tensor(const Stream& stream, const FlatGrid& grid);
  void sum_over_stages(const Stream& stream, const FlatGrid& grid);
  void update_run(const Stream& stream, const FlatGrid& grid, const Part& run, const UpdateRates& rates,
                  const Tensor& gradient_scale) const;
  void sum_over_instance(const Stream& stream, const Tensor& x, const char* name);
  void wait_for_weights();
  void add_state(const FlatGrid& grid, const Part& part, std::vector<StateTensor>& out) const;
  std::vector<std::pair<const FlatGrid*, const Part*>> in_order(bool owned) const;
};

}  // namespace conclave
