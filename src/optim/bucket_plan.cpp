#include "optim/bucket_plan.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {

int64_t unit_elements(const ParameterSpec& spec, ShardUnit unit) {
  const bool matrices = spec.role == ParameterRole::kMatrix || spec.role == ParameterRole::kExpertMatrices ||
                        spec.role == ParameterRole::kRouter;
  const std::vector<int64_t>& shape = local_shape(spec);
  const auto axes = static_cast<size_t>(spec.matrix_axes);
  if (unit == ShardUnit::kElements || !matrices || shape.size() < axes) return 1;
  int64_t elements = 1;
  for (size_t axis = shape.size() - axes; axis < shape.size(); ++axis) elements *= shape[axis];
  return std::max<int64_t>(elements, 1);
}

int64_t default_bucket_elements(int64_t ranks) { return std::max<int64_t>(40'000'000, 1'000'000 * ranks); }

namespace {

class Cutter {
 public:
  Cutter(const std::vector<PlannedParameter>& parameters, const std::vector<int64_t>& begins, const Bucket& bucket)
      : parameters_(parameters), begins_(begins), bucket_(bucket) {}

  std::vector<int64_t> cuts(int64_t ranks) const {
    std::vector<int64_t> out{bucket_.begin};
    for (int64_t rank = 1; rank < ranks; ++rank) {
      // In steps of whole alignments, so that the product cannot overflow.
      const int64_t target = bucket_.begin + bucket_.length() / kAlignedElements * rank / ranks * kAlignedElements;
      out.push_back(std::max(out.back(), nearest(target)));
    }
    out.push_back(bucket_.end);
    return out;
  }

 private:
  const std::vector<PlannedParameter>& parameters_;
  const std::vector<int64_t>& begins_;
  const Bucket& bucket_;

  // The place nearest to `target` where a cut hurts no unit; the lower one of two.
  int64_t nearest(int64_t target) const {
    const auto first = begins_.begin() + static_cast<int64_t>(bucket_.first);
    const auto last = begins_.begin() + static_cast<int64_t>(bucket_.last);
    const auto slot = static_cast<size_t>(std::upper_bound(first, last, target) - begins_.begin()) - 1;
    const int64_t begin = begins_[slot], end = begin + parameters_[slot].count;
    const int64_t next = slot + 1 < bucket_.last ? begins_[slot + 1] : bucket_.end;
    if (target >= end) return next;  // in the gap behind it
    const int64_t step = parameters_[slot].unit > 1 ? parameters_[slot].unit : kAlignedElements;
    const int64_t lower = begin + (target - begin) / step * step;
    const int64_t upper = lower + step >= end ? next : lower + step;
    return target - lower <= upper - target ? lower : upper;
  }
};

}  // namespace

BucketPlan plan_buckets(const std::vector<PlannedParameter>& parameters, size_t split, int64_t bucket_elements,
                        int64_t ranks) {
  CONCLAVE_CHECK(bucket_elements > 0 && ranks > 0, "buckets of {} elements for {} ranks", bucket_elements, ranks);
  BucketPlan plan;
  for (size_t slot = 0; slot < parameters.size(); ++slot) {
    const PlannedParameter& parameter = parameters[slot];
    CONCLAVE_CHECK(parameter.unit >= 1 && parameter.count % parameter.unit == 0, "{} elements in units of {}",
                   parameter.count, parameter.unit);
    const bool full = !plan.buckets.empty() && plan.buckets.back().length() >= bucket_elements;
    if (plan.buckets.empty() || full || slot == split)
      plan.buckets.push_back({plan.elements, plan.elements, slot, slot, {}});
    plan.begins.push_back(plan.elements);
    plan.elements += round_up(parameter.count, kAlignedElements);
    plan.buckets.back().end = plan.elements;
    plan.buckets.back().last = slot + 1;
  }
  for (Bucket& bucket : plan.buckets) bucket.cuts = Cutter(parameters, plan.begins, bucket).cuts(ranks);
  return plan;
}

}  // namespace conclave
