#include "comm/mpi/reduction.h"

#include <algorithm>

#include "kernels/ordered_reduce.h"

namespace conclave {
namespace {

constexpr int64_t kShortBytes = 4096;
constexpr int64_t kStagingBytes = 2 << 20;  // of all members' pieces of one chunk: they stay in the second-level cache
constexpr int64_t kSmallestChunk = 64 << 10;

}  // namespace

bool Reduction::is_short(const CollectiveCall& call, int size) { return call.in.bytes() * (size - 1) <= kShortBytes; }

Reduction::Reduction(const CollectiveCall& call, int rank, int size)
    : call_(call), rank_(rank), size_(size), width_(dtype_size(call.in.dtype())) {
  chunk_elements_ = std::max(kSmallestChunk, kStagingBytes / std::max(1, size - 1)) / width_;
  const int64_t count = call.in.element_count();
  int64_t longest = 0;
  begins_.push_back(0);
  for (int member = 0; member < size; ++member) {
    const int64_t end = call.kind == CollectiveKind::kAllReduce
                            ? count * (member + 1) / size
                            : begins_.back() + call.send[static_cast<size_t>(member)];
    longest = std::max(longest, end - begins_.back());
    begins_.push_back(end);
  }
  chunks_ = ceil_div(longest, chunk_elements_);
  const int64_t length = range(rank, 0).second;
  staging_ = std::make_unique_for_overwrite<std::byte[]>(
      static_cast<size_t>(std::min(kAhead, chunks_) * (size - 1) * length * width_));
}

std::pair<int64_t, int64_t> Reduction::range(int member, int64_t chunk) const {
  const auto index = static_cast<size_t>(member);
  const int64_t begin = begins_[index] + chunk * chunk_elements_;
  return {begin, std::clamp<int64_t>(begins_[index + 1] - begin, 0, chunk_elements_)};
}

std::byte* Reduction::staging(int64_t chunk, int member) {
  const int64_t length = range(rank_, 0).second * width_;  // of the longest chunk
  const int64_t place = (chunk % kAhead) * (size_ - 1) + (member < rank_ ? member : member - 1);
  return staging_.get() + place * length;
}

void Reduction::sum(int64_t chunk) {
  const auto [begin, length] = range(rank_, chunk);
  if (length == 0) return;
  std::vector<const std::byte*> inputs;
  for (int member = 0; member < size_; ++member) {
    inputs.push_back(member == rank_ ? call_.in.raw() + begin * width_ : staging(chunk, member));
  }
  std::byte* const output = call_.kind == CollectiveKind::kAllReduce
                                ? call_.out.raw() + begin * width_
                                : call_.out.raw() + chunk * chunk_elements_ * width_;
  kernels::ordered_reduce({.inputs = inputs,
                           .outputs = {&output, 1},
                           .count = length,
                           .dtype = call_.in.dtype(),
                           .rule = static_cast<kernels::ReduceRule>(call_.op)});
}

}  // namespace conclave
