// Boxes of one tensor against each other: what they share, and whether they tile it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tensor/shard.h"

namespace conclave {

/// "[0:4, 2:8]".
std::string box_text(const Box& box);
/// Whether `box` has the rank of `shape`, no negative numbers, and lies inside.
bool box_fits(const Box& box, const std::vector<int64_t>& shape);

/// What both boxes cover; nothing if that is no element. Boxes of rank 0 share their one element.
std::optional<Box> intersection(const Box& a, const Box& b);

/// Elements contiguous in two boxes' row-major storage: `count` from `source` on in the one, from `destination` on in
/// the other.
struct CopyRun {
  int64_t source = 0;
  int64_t destination = 0;
  int64_t count = 0;
};
/// Visits the runs that copy `shared` (inside both) from the storage of `source` to that of `destination`, ascending in
/// both.
void for_each_run(const Box& source, const Box& destination, const Box& shared,
                  const std::function<void(const CopyRun&)>& visit);

/// Two boxes that share an element, as text "A and B"; empty if none do.
std::string overlap_fault(const std::vector<const Box*>& boxes);
/// What keeps `boxes` (all inside `shape`) from tiling `shape`: an overlap or a hole, in words; empty if they do.
std::string tiling_fault(const std::vector<int64_t>& shape, const std::vector<const Box*>& boxes);

}  // namespace conclave
