#include "checkpoint/box_overlap.h"

#include <algorithm>
#include <set>

#include "base/error.h"

namespace conclave {

std::string box_text(const Box& box) {
  std::string out = "[";
  for (size_t axis = 0; axis < box.size.size(); ++axis)
    out += fmt::format("{}{}:{}", axis > 0 ? ", " : "", box.begin[axis], box.begin[axis] + box.size[axis]);
  return out + "]";
}

bool box_fits(const Box& box, const std::vector<int64_t>& shape) {
  if (box.begin.size() != shape.size() || box.size.size() != shape.size()) return false;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (box.begin[axis] < 0 || box.size[axis] < 0) return false;
    if (box.begin[axis] > shape[axis] || box.size[axis] > shape[axis] - box.begin[axis]) return false;
  }
  return true;
}

std::optional<Box> intersection(const Box& a, const Box& b) {
  CONCLAVE_CHECK_EQ(a.size.size(), b.size.size(), "boxes of different rank");
  Box shared;
  for (size_t axis = 0; axis < a.size.size(); ++axis) {
    const int64_t begin = std::max(a.begin[axis], b.begin[axis]);
    const int64_t end = std::min(a.begin[axis] + a.size[axis], b.begin[axis] + b.size[axis]);
    if (end <= begin) return std::nullopt;
    shared.begin.push_back(begin);
    shared.size.push_back(end - begin);
  }
  return shared;
}

void for_each_run(const Box& source, const Box& destination, const Box& shared,
                  const std::function<void(const CopyRun&)>& visit) {
  const size_t rank = shared.size.size();
  // Trailing axes that are whole in both boxes belong to one run, and so does the axis before them.
  size_t outer = rank;
  int64_t count = 1;
  while (outer > 0) {
    --outer;
    count *= shared.size[outer];
    if (shared.size[outer] != source.size[outer] || shared.size[outer] != destination.size[outer]) break;
  }
  std::vector<int64_t> index(outer, 0);
  const auto offset_in = [&](const Box& box) {
    int64_t offset = 0;
    for (size_t axis = 0; axis < rank; ++axis) {
      const int64_t position = shared.begin[axis] + (axis < outer ? index[axis] : 0) - box.begin[axis];
      offset = offset * box.size[axis] + position;
    }
    return offset;
  };
  while (true) {
    visit({offset_in(source), offset_in(destination), count});
    size_t axis = outer;
    while (axis > 0 && ++index[axis - 1] == shared.size[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

namespace {

// The axis that separates most boxes: a sweep along it compares few pairs.
size_t best_axis(const std::vector<const Box*>& boxes) {
  size_t best = 0, most = 0;
  for (size_t axis = 0; axis < boxes[0]->size.size(); ++axis) {
    std::set<int64_t> begins;
    for (const Box* box : boxes) begins.insert(box->begin[axis]);
    if (begins.size() > most) {
      most = begins.size();
      best = axis;
    }
  }
  return best;
}

}  // namespace

std::string overlap_fault(const std::vector<const Box*>& all) {
  std::vector<const Box*> boxes;
  for (const Box* box : all) {
    if (box->element_count() > 0) boxes.push_back(box);
  }
  if (boxes.size() < 2) return "";
  if (boxes[0]->size.empty()) return "[] and []";
  const size_t axis = best_axis(boxes);
  std::sort(boxes.begin(), boxes.end(), [&](const Box* a, const Box* b) { return a->begin[axis] < b->begin[axis]; });
  std::vector<const Box*> open;
  for (const Box* box : boxes) {
    std::erase_if(open, [&](const Box* other) { return other->begin[axis] + other->size[axis] <= box->begin[axis]; });
    for (const Box* other : open) {
      if (intersection(*box, *other)) return fmt::format("{} and {}", box_text(*other), box_text(*box));
    }
    open.push_back(box);
  }
  return "";
}

std::string tiling_fault(const std::vector<int64_t>& shape, const std::vector<const Box*>& boxes) {
  if (const std::string overlap = overlap_fault(boxes); !overlap.empty())
    return fmt::format("its boxes {} overlap", overlap);
  const int64_t needed = ShardSpec::whole(shape).element_count();
  int64_t stored = 0;
  for (const Box* box : boxes) stored += box->element_count();
  if (stored == needed) return "";
  return fmt::format("{} of its {} elements are stored nowhere", needed - stored, needed);
}

}  // namespace conclave
