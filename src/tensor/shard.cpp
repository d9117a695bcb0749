#include "tensor/shard.h"

#include <algorithm>

#include "base/error.h"

namespace conclave {

int64_t Box::element_count() const {
  int64_t count = 1;
  for (const int64_t length : size) count *= length;
  return count;
}

ShardSpec ShardSpec::whole(const std::vector<int64_t>& shape) {
  return {shape, {Box{std::vector<int64_t>(shape.size(), 0), shape}}};
}

ShardSpec ShardSpec::intervals(const std::vector<int64_t>& shape, size_t axis,
                               const std::vector<std::pair<int64_t, int64_t>>& begin_and_size) {
  ShardSpec out{shape, {}};
  for (const auto& [begin, size] : begin_and_size) {
    Box box{std::vector<int64_t>(shape.size(), 0), shape};
    CONCLAVE_CHECK(begin >= 0 && size >= 0 && begin + size <= shape.at(axis), "[{}, {}) of an axis of {}", begin,
                   begin + size, shape[axis]);
    box.begin[axis] = begin;
    box.size[axis] = size;
    out.boxes.push_back(std::move(box));
  }
  return out;
}

int64_t ShardSpec::element_count() const {
  int64_t count = 0;
  for (const Box& box : boxes) count += box.element_count();
  return count;
}

bool ShardSpec::is_whole() const { return boxes.size() == 1 && boxes[0].size == global_shape; }

int64_t ShardSpec::global_index(int64_t local) const {
  for (const Box& box : boxes) {
    const int64_t count = box.element_count();
    if (local >= count) {
      local -= count;
      continue;
    }
    int64_t index = 0, stride = 1, rest = local;
    for (size_t axis = box.size.size(); axis-- > 0;) {
      index += (box.begin[axis] + rest % box.size[axis]) * stride;
      rest /= box.size[axis];
      stride *= global_shape[axis];
    }
    return index;
  }
  CONCLAVE_CHECK(false, "local element {} lies beyond the shard", local);
  return -1;
}

namespace {

// Appends boxes for [begin, begin+count) of the sub-box spanned by axes >= axis at fixed leading coordinates.
void append_boxes(const Box& box, size_t axis, std::vector<int64_t>& coordinates, int64_t begin, int64_t count,
                  std::vector<Box>& out) {
  if (count == 0) return;
  int64_t inner = 1;
  for (size_t i = axis + 1; i < box.size.size(); ++i) inner *= box.size[i];
  const auto emit = [&](int64_t first, int64_t length) {
    Box piece = box;
    for (size_t i = 0; i < axis; ++i) {
      piece.begin[i] = coordinates[i];
      piece.size[i] = 1;
    }
    piece.begin[axis] = box.begin[axis] + first;
    piece.size[axis] = length;
    out.push_back(piece);
  };
  const auto descend = [&](int64_t index, int64_t from, int64_t length) {
    coordinates[axis] = box.begin[axis] + index;
    append_boxes(box, axis + 1, coordinates, from, length, out);
  };
  int64_t index = begin / inner;
  const int64_t offset = begin % inner;
  if (offset != 0) {
    const int64_t head = std::min(count, inner - offset);
    descend(index, offset, head);
    count -= head;
    ++index;
  }
  if (count >= inner) emit(index, count / inner);
  if (count % inner != 0) descend(index + count / inner, 0, count % inner);
}

}  // namespace

std::vector<Box> boxes_of_flat_range(const Box& box, int64_t begin, int64_t count) {
  CONCLAVE_CHECK(begin >= 0 && count >= 0 && begin + count <= box.element_count(), "flat range {}+{} of a box of {}",
                 begin, count, box.element_count());
  if (box.size.empty()) return count == 0 ? std::vector<Box>{} : std::vector<Box>{box};
  std::vector<Box> out;
  std::vector<int64_t> coordinates(box.size.size(), 0);
  append_boxes(box, 0, coordinates, begin, count, out);
  return out;
}

ShardSpec shard_of_flat_range(const ShardSpec& shard, int64_t begin, int64_t count) {
  ShardSpec out{shard.global_shape, {}};
  const int64_t end = begin + count;
  int64_t start = 0;  // of the box at hand
  for (const Box& box : shard.boxes) {
    const int64_t next = start + box.element_count();
    const int64_t from = std::max(begin, start), to = std::min(end, next);
    if (from < to) {
      for (Box& piece : boxes_of_flat_range(box, from - start, to - from)) out.boxes.push_back(std::move(piece));
    }
    start = next;
  }
  CONCLAVE_CHECK(begin >= 0 && count >= 0 && end <= start, "flat range {}+{} of a shard of {}", begin, count, start);
  return out;
}

}  // namespace conclave
