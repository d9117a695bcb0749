#include "trainer/fault_finder.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <vector>

#include "checkpoint/tensor_directory.h"
#include "kernels/elementwise.h"

namespace conclave {
namespace {

constexpr int64_t kNoFault = std::numeric_limits<int64_t>::max();
// An order as one number: micro-batch (15 bits), stage (12), tensor (18), rank (18).
constexpr int kStageBits = 12, kTensorBits = 18, kRankBits = 18, kMicroBatchBits = 15;

int64_t limited(int64_t value, int bits) { return std::min(value, (int64_t{1} << bits) - 1); }

bool earlier(const StepExecutor::FlowPlace& a, const StepExecutor::FlowPlace& b) {
  return std::tie(a.micro_batch, a.stage) < std::tie(b.micro_batch, b.stage);
}

}  // namespace

void FaultFinder::see(const Stream& stream, const std::string& where, const Tensor& tensor) {
  const StepExecutor::FlowPlace now = executor_.flow_place();
  if (now != place_) seen_in_place_ = 0;
  place_ = now;
  const int64_t number = seen_in_place_++;
  // A pipeline takes up a micro-batch before it is done with an earlier one.
  if (found() && !earlier(now, first_->place)) return;
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kBF16) return;
  const Tensor count = Tensor::empty(stream.device(), {1}, DType::kI64, {MemoryCategory::kWorkspace, "fault finder"});
  kernels::count_nonfinite(stream, {.x = tensor, .count = count});
  const int64_t bad = to_host<int64_t>(stream, count)[0];
  if (bad == 0) {
    last_good_ = where;
    return;
  }
  first_ = Fault{now, number,
                 fmt::format("{} {}: {} of {} values{}", where, tensor.shape().to_string(), bad, tensor.element_count(),
                             last_good_.empty() ? "" : fmt::format(" (sound until {})", last_good_))};
}

int64_t FaultFinder::order(int64_t rank) const {
  if (!found()) return kNoFault;
  int64_t order = limited(first_->place.micro_batch, kMicroBatchBits);
  order = order << kStageBits | limited(first_->place.stage, kStageBits);
  order = order << kTensorBits | limited(first_->tensor, kTensorBits);
  return order << kRankBits | limited(rank, kRankBits);
}

FaultFinder::First FaultFinder::first_of_job(World& world, const Stream& stream) const {
  const First none{0,
                   "none in any activation or input gradient, so it is in a weight gradient, the loss or the labels"};
  const int64_t own = order(world.rank());
  if (world.size() == 1) return found() ? First{0, first_->text} : none;
  const Tensor least =
      from_host<int64_t>(stream.device(), {1}, std::vector<int64_t>{own}, {MemoryCategory::kWorkspace, "fault finder"});
  world.all().all_reduce(stream, least, ReduceOp::kMin, "first fault");
  const int64_t first = to_host<int64_t>(stream, least)[0];
  if (first == kNoFault) return none;
  const int64_t rank = first & ((int64_t{1} << kRankBits) - 1);
  const std::string told = first == own ? first_->text : "";
  const std::vector<std::string> texts(static_cast<size_t>(world.size()), told);
  return {rank, exchange_texts(world.all(), stream, texts).at(static_cast<size_t>(rank))};
}

}  // namespace conclave
