#include "device/memory.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace conclave {

std::string_view memory_category_name(MemoryCategory category) {
  constexpr std::string_view kNames[] = {"weights", "gradients", "optimizer", "activations", "workspace"};
  return kNames[static_cast<int>(category)];
}

MemoryBlock::~MemoryBlock() { owner_->release(*this); }

std::shared_ptr<MemoryBlock> Allocator::allocate(int64_t bytes, MemoryTag tag) {
  CONCLAVE_CHECK(bytes >= 0, "negative allocation of {} bytes for '{}'", bytes, tag.name);
  const int64_t rounded = round_up(bytes, kAlignment);
  const std::lock_guard lock(mutex_);
  CONCLAVE_USER_CHECK(
      limit_ == 0 || statistics_.current_total + rounded <= limit_,
      "[device/memory] out of memory: {} for '{}' on top of {} would pass the limit of {}; use a smaller "
      "--micro-batch-size, --recompute-granularity, or a larger limit\n{}",
      human_bytes(rounded), tag.name, human_bytes(statistics_.current_total), human_bytes(limit_), holdings());
  auto block = std::make_shared<MemoryBlock>(*this, rounded == 0 ? nullptr : take(rounded), rounded, tag);
  book(rounded, tag);
  return block;
}

void Allocator::book(int64_t bytes, const MemoryTag& tag) {
  const auto category = static_cast<size_t>(tag.category);
  statistics_.current[category] += bytes;
  statistics_.current_total += bytes;
  statistics_.allocation_count += 1;
  statistics_.category_peak[category] = std::max(statistics_.category_peak[category], statistics_.current[category]);
  if (track_names_) names_now_[{tag.category, tag.name}] += bytes;
  if (statistics_.current_total > statistics_.peak_total) {
    statistics_.peak_total = statistics_.current_total;
    statistics_.at_peak = statistics_.current;
    if (track_peak_names_) names_at_peak_ = readable(names_now_);
  }
}

void Allocator::release(MemoryBlock& block) {
  const std::lock_guard lock(mutex_);
  statistics_.current[static_cast<size_t>(block.tag().category)] -= block.bytes();
  statistics_.current_total -= block.bytes();
  if (track_names_) names_now_[{block.tag().category, block.tag().name}] -= block.bytes();
  if (block.bytes() > 0) give_back(block.data(), block.bytes());
}

MemoryStatistics Allocator::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void Allocator::set_name_tracking(bool on) {
  const std::lock_guard lock(mutex_);
  track_names_ = track_peak_names_ = on;
}

void Allocator::set_limit(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  limit_ = bytes;
}

void Allocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  statistics_.peak_total = statistics_.current_total;
  statistics_.at_peak = statistics_.current;
  statistics_.category_peak = statistics_.current;
  names_at_peak_ = readable(names_now_);
}

std::map<std::string, int64_t> Allocator::names_at_peak() const {
  const std::lock_guard lock(mutex_);
  return names_at_peak_;
}

std::string Allocator::report() const {
  const std::lock_guard lock(mutex_);
  return table();
}

std::map<std::string, int64_t> Allocator::readable(const Names& names) {
  std::map<std::string, int64_t> out;
  for (const auto& [key, bytes] : names)
    if (bytes != 0) out[fmt::format("{}/{}", memory_category_name(key.first), key.second)] += bytes;
  return out;
}

std::string Allocator::holdings() const {
  std::string out = table();
  std::vector<std::pair<int64_t, std::string>> largest;
  for (const auto& [name, bytes] : readable(names_now_)) largest.emplace_back(-bytes, name);
  std::sort(largest.begin(), largest.end());
  constexpr size_t kShown = 12;
  for (size_t i = 0; i < std::min(largest.size(), kShown); ++i)
    out += fmt::format("  {:<40} {:>12}\n", largest[i].second, human_bytes(-largest[i].first));
  return out;
}

std::string Allocator::table() const {
  std::string out = fmt::format("{:<12} {:>12} {:>12}\n", "memory", "now", "at peak");
  for (int i = 0; i < kMemoryCategoryCount; ++i) {
    const auto index = static_cast<size_t>(i);
    out += fmt::format("{:<12} {:>12} {:>12}\n", memory_category_name(static_cast<MemoryCategory>(i)),
                       human_bytes(statistics_.current[index]), human_bytes(statistics_.at_peak[index]));
  }
  out += fmt::format("{:<12} {:>12} {:>12}\n", "total", human_bytes(statistics_.current_total),
                     human_bytes(statistics_.peak_total));
  return out;
}

}  // namespace conclave
