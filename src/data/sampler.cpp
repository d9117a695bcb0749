#include "data/sampler.h"

#include <algorithm>

#include "base/error.h"
#include "data/random.h"

namespace conclave {

DataloaderType dataloader_type_from_name(std::string_view name) {
  if (name == "single") return DataloaderType::kSingle;
  if (name == "cyclic") return DataloaderType::kCyclic;
  throw_user(fmt::format("[data] unknown dataloader type '{}'; single and cyclic are known", name));
}

Sampler::Sampler(const SamplerSpec& spec)
    : spec_(spec), slice_(spec.micro_batch_size * spec.data_parallel_size), consumed_(spec.consumed_samples) {
  CONCLAVE_USER_CHECK(
      spec.micro_batch_size > 0 && spec.data_parallel_size > 0 && spec.data_parallel_rank >= 0 &&
          spec.data_parallel_rank < spec.data_parallel_size && spec.consumed_samples >= 0,
      "[data] micro-batch size {}, rank {} of {}, {} samples used: the first must be positive, the rank "
      "one of the ranks, and the last not negative",
      spec.micro_batch_size, spec.data_parallel_rank, spec.data_parallel_size, spec.consumed_samples);
  CONCLAVE_USER_CHECK(spec.total_samples > 0, "[data] the data set has no samples; give more data");
  if (spec.type == DataloaderType::kSingle) {
    CONCLAVE_USER_CHECK(spec.consumed_samples < spec.total_samples,
                        "[data] no samples left: {} of {} are used; ask for more samples or give more data",
                        spec.consumed_samples, spec.total_samples);
    return;
  }
  const int64_t active = spec.total_samples - spec.total_samples % slice_;
  CONCLAVE_USER_CHECK(active > 0, "[data] {} samples do not fill one step of {} (micro-batch {} on {} ranks)",
                      spec.total_samples, slice_, spec.micro_batch_size, spec.data_parallel_size);
  const int64_t epoch = spec.consumed_samples / active, within = spec.consumed_samples % active;
  CONCLAVE_USER_CHECK(
      within % slice_ == 0,
      "[data] the cyclic order can only go on at whole steps of {} samples, {} are used; resume with the "
      "micro-batch size and data-parallel size of before",
      slice_, spec.consumed_samples);
  if (spec.data_sharding) {
    const int64_t bucket = spec.total_samples / slice_ * spec.micro_batch_size;
    order_ = torch_randperm(bucket, static_cast<uint64_t>(epoch));
    first_sample_ = spec.data_parallel_rank * bucket;
    at_ = within / spec.data_parallel_size;
  } else {
    order_ = torch_randperm(spec.total_samples / spec.micro_batch_size * spec.micro_batch_size,
                            static_cast<uint64_t>(epoch));
    stride_ = spec.data_parallel_size;
    at_ = within + spec.data_parallel_rank;
  }
}

bool Sampler::next(std::vector<int64_t>& batch) {
  batch.clear();
  return spec_.type == DataloaderType::kSingle ? next_single(batch) : next_cyclic(batch);
}

bool Sampler::next_single(std::vector<int64_t>& batch) {
  const int64_t left = spec_.total_samples - consumed_;
  if (left <= 0 || (left < slice_ && spec_.drop_last)) return false;
  const int64_t begin = consumed_ + spec_.data_parallel_rank * spec_.micro_batch_size;
  const int64_t end = std::min(begin + spec_.micro_batch_size, spec_.total_samples);
  for (int64_t i = begin; i < end; ++i) batch.push_back(i);
  consumed_ += std::min(slice_, left);
  return true;
}

bool Sampler::next_cyclic(std::vector<int64_t>& batch) {
  const int64_t last = at_ + (spec_.micro_batch_size - 1) * stride_;
  if (last >= static_cast<int64_t>(order_.size())) return false;
  for (; at_ <= last; at_ += stride_) batch.push_back(first_sample_ + order_[static_cast<size_t>(at_)]);
  consumed_ += slice_;
  return true;
}

}  // namespace conclave
