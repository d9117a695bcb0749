// The forward and backward passes of a training step, recorded on the GPU once and replayed in later steps
// (--cuda-graph-impl full_iteration).
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "config/options.h"
#include "device/recorded_work.h"
#include "trainer/batch_upload.h"

namespace conclave {

/// The same bits as without recording: the same kernels, in the same order, on data that lies elsewhere.
class RecordedPasses {
 public:
  RecordedPasses(Device& device, int64_t sums);

  /// What runs the passes on micro-batches that are on the device, adding losses to loss_sums().
  using Passes = std::function<void(const std::vector<DeviceBatch>& batches, const Tensor& loss_sums)>;
  /// Uploads with `upload`, then runs `passes`: as they are for the first steps, in which plans are made; then
  /// recorded; then replayed, after `repeat` did what the passes do on the host. Other sizes begin anew.
  void run(std::span<const MicroBatch> micro_batches, const std::function<DeviceBatch(const MicroBatch&)>& upload,
           const Passes& passes, const std::function<void()>& repeat);
  const Tensor& loss_sums() const { return sums_; }

 private:
  struct Sizes {
    int64_t micro_batches = 0, sequences = 0, length = 0;
    bool documents = false;
    bool operator==(const Sizes&) const = default;
  };
  static constexpr int64_t kPlainSteps = 2;

  Device& device_;
  Tensor sums_;
  Sizes sizes_;
  int64_t steps_ = 0;
  std::vector<DeviceBatch> batches_;
  std::unique_ptr<RecordedWork> work_;  ///< goes before what it works on
};

/// Null where the options do not ask for it or the device is none that records; also, with a warning that says why,
/// where the passes are not the same GPU work in every step. `sums`: numbers in loss_sums(). Options must be resolved.
std::unique_ptr<RecordedPasses> make_recorded_passes(const Options& options, Device& device, int64_t ranks,
                                                     int64_t sums);

}  // namespace conclave
