// Which part of a logical tensor is held here: the global shape and an ordered list of boxes.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace conclave {

/// A box [begin, begin + size) on every axis of the global tensor.
struct Box {
  std::vector<int64_t> begin;
  std::vector<int64_t> size;
  int64_t element_count() const;
  bool operator==(const Box&) const = default;
};

/// Local storage is the boxes one after the other, each row-major. A TP shard of a gated FC1 is two boxes; a flat range
/// of a shard is its minimal boxes.
struct ShardSpec {
  std::vector<int64_t> global_shape;
  std::vector<Box> boxes;

  static ShardSpec whole(const std::vector<int64_t>& shape);
  /// Rows [begin, begin + size) of axis `axis` for each given interval, in order; everything on the other axes.
  static ShardSpec intervals(const std::vector<int64_t>& shape, size_t axis,
                             const std::vector<std::pair<int64_t, int64_t>>& begin_and_size);
  int64_t element_count() const;
  bool is_whole() const;
  /// Index in the global row-major order of local element `local`.
  int64_t global_index(int64_t local) const;
  bool operator==(const ShardSpec&) const = default;
};

/// The minimal list of boxes covering flat elements [begin, begin + count) of a row-major box, in order.
std::vector<Box> boxes_of_flat_range(const Box& box, int64_t begin, int64_t count);
/// Elements [begin, begin + count) of a shard's local storage as a shard of their own.
ShardSpec shard_of_flat_range(const ShardSpec& shard, int64_t begin, int64_t count);

}  // namespace conclave
