#include "data/tokenizer/merges.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"

namespace conclave {

MergeTable::MergeTable(int64_t expected) {
  resize(std::bit_ceil(static_cast<size_t>(std::max<int64_t>(expected, 8)) * 2));
}

void MergeTable::resize(size_t slots) {
  std::vector<Slot> old(slots);
  old.swap(slots_);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  for (const Slot& slot : old) {
    if (slot.key == kFree) continue;
    size_t to = slot_of(slot.key);
    while (slots_[to].key != kFree) to = (to + 1) & mask_;
    slots_[to] = slot;
  }
}

void MergeTable::set(int32_t left, int32_t right, Merge merge) {
  CONCLAVE_CHECK(left >= 0 && right >= 0, "merge of negative symbols {} and {}", left, right);
  const uint64_t key = key_of(left, right);
  size_t slot = slot_of(key);
  while (slots_[slot].key != kFree && slots_[slot].key != key) slot = (slot + 1) & mask_;
  if (slots_[slot].key == kFree) ++size_;
  slots_[slot] = {key, merge};
  if (static_cast<size_t>(size_) * 2 > slots_.size()) resize(slots_.size() * 2);
}

void Merger::apply(const MergeTable& table, std::vector<int32_t>& symbols, std::vector<Candidate>* candidates) {
  if (symbols.size() < 2) return;
  candidates_ = candidates;
  if (symbols.size() <= kShort && candidates == nullptr) {
    apply_short(table, symbols);
  } else {
    apply_long(table, symbols);
  }
}

void Merger::apply_short(const MergeTable& table, std::vector<int32_t>& symbols) {
  int32_t* symbol = symbols.data();
  int32_t rank[kShort], merged[kShort];
  size_t count = symbols.size();
  const auto look_up_at = [&](size_t i) {
    const Merge* merge = table.find(symbol[i], symbol[i + 1]);
    rank[i] = merge != nullptr ? merge->rank : kNone;
    merged[i] = merge != nullptr ? merge->merged : 0;
  };
  for (size_t i = 0; i + 1 < count; ++i) look_up_at(i);
  while (count > 1) {
    const size_t best = static_cast<size_t>(std::min_element(rank, rank + count - 1) - rank);
    if (rank[best] == kNone) break;
    symbol[best] = merged[best];
    std::copy(symbol + best + 2, symbol + count, symbol + best + 1);
    if (best + 2 < count) {
      std::copy(rank + best + 2, rank + count - 1, rank + best + 1);
      std::copy(merged + best + 2, merged + count - 1, merged + best + 1);
    }
    --count;
    if (best > 0) look_up_at(best - 1);
    if (best + 1 < count) look_up_at(best);
  }
  symbols.resize(count);
}

void Merger::look_up(const MergeTable& table, Node& node, int32_t right) {
  const Merge* merge = table.find(node.symbol, right);
  node.rank = merge != nullptr ? merge->rank : kNone;
  node.merged = merge != nullptr ? merge->merged : 0;
  if (merge != nullptr && candidates_ != nullptr) candidates_->push_back({node.symbol, right, merge->merged});
}

void Merger::apply_long(const MergeTable& table, std::vector<int32_t>& symbols) {
  const auto count = narrow<int32_t>(symbols.size());
  nodes_.resize(symbols.size());
  heap_.clear();
  const auto node_at = [&](int32_t i) -> Node& { return nodes_[static_cast<size_t>(i)]; };
  const auto entry = [&](int32_t i) { return static_cast<uint64_t>(node_at(i).rank) << 32 | static_cast<uint32_t>(i); };
  for (int32_t i = 0; i < count; ++i) {
    node_at(i) = {symbols[static_cast<size_t>(i)], kNone, 0, i - 1, i + 1 < count ? i + 1 : -1};
  }
  for (int32_t i = 0; i + 1 < count; ++i) {
    look_up(table, node_at(i), node_at(i + 1).symbol);
    if (node_at(i).rank != kNone) heap_.push_back(entry(i));
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  const auto renew = [&](int32_t i) {
    look_up(table, node_at(i), node_at(node_at(i).next).symbol);
    if (node_at(i).rank == kNone) return;
    heap_.push_back(entry(i));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  };
  while (!heap_.empty()) {
    const auto rank = static_cast<int32_t>(heap_.front() >> 32);
    const auto at = static_cast<int32_t>(heap_.front() & 0xFFFFFFFF);
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    Node& node = node_at(at);
    if (node.rank != rank) continue;  // the pair is not there any more
    Node& right = node_at(node.next);
    node.symbol = node.merged;
    node.next = right.next;
    right.rank = kNone;
    node.rank = kNone;
    if (node.next >= 0) {
      node_at(node.next).previous = at;
    }
    if (node.previous >= 0) renew(node.previous);
    if (node.next >= 0) renew(at);
  }
  symbols.clear();
  for (int32_t i = 0; i >= 0; i = node_at(i).next) symbols.push_back(node_at(i).symbol);
}

}  // namespace conclave
