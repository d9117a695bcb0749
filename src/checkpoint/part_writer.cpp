#include "checkpoint/part_writer.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/safetensors.h"
#include "base/streamed_file.h"
#include "checkpoint/box_overlap.h"

namespace conclave {
namespace {

// A box to be written: which tensor, and where its bytes begin in that tensor's data.
struct Piece {
  size_t tensor = 0;
  size_t box = 0;
  int64_t source_offset = 0;
  int64_t bytes = 0;
};

// Which tensor of the index each entry belongs to: entries of one name make one tensor.
struct NamedTensors {
  std::vector<IndexedTensor> tensors;
  std::vector<size_t> of_entry;
};

NamedTensors group_by_name(const std::vector<CheckpointTensor>& entries) {
  NamedTensors named;
  std::map<std::string_view, size_t> places;
  for (const CheckpointTensor& entry : entries) {
    const auto [place, is_new] = places.emplace(entry.name, named.tensors.size());
    if (is_new) named.tensors.push_back({entry.name, entry.dtype, entry.shard.global_shape, {}});
    const IndexedTensor& tensor = named.tensors[place->second];
    CONCLAVE_CHECK(tensor.dtype == entry.dtype && tensor.shape == entry.shard.global_shape,
                   "tensor '{}' is saved with several shapes or dtypes", entry.name);
    named.of_entry.push_back(place->second);
    if (entry.source) continue;
    const int64_t given = entry.tensor.defined() ? entry.tensor.bytes() : static_cast<int64_t>(entry.host.size());
    CONCLAVE_CHECK_EQ(given, entry.bytes(), "data of tensor '{}' against its boxes", entry.name);
  }
  return named;
}

void check_boxes(const std::vector<CheckpointTensor>& entries, const NamedTensors& named) {
  std::vector<std::vector<const Box*>> boxes(named.tensors.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    for (const Box& box : entries[i].shard.boxes) {
      CONCLAVE_CHECK(box_fits(box, entries[i].shard.global_shape), "box {} of tensor '{}' lies outside its shape",
                     box_text(box), entries[i].name);
      std::vector<const Box*>& others = boxes[named.of_entry[i]];
      CONCLAVE_CHECK(std::none_of(others.begin(), others.end(), [&](const Box* other) { return *other == box; }),
                     "box {} of tensor '{}' is saved twice", box_text(box), entries[i].name);
      others.push_back(&box);
    }
  }
  for (size_t k = 0; k < boxes.size(); ++k) {
    const std::string overlap = overlap_fault(boxes[k]);
    CONCLAVE_CHECK(overlap.empty(), "boxes {} of tensor '{}' overlap", overlap, named.tensors[k].name);
  }
}

// Boxes in file order: wide element types first, so that each begins at a multiple of its element size.
std::vector<Piece> pieces_of(const std::vector<CheckpointTensor>& tensors) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < tensors.size(); ++i) {
    int64_t offset = 0;
    for (size_t k = 0; k < tensors[i].shard.boxes.size(); ++k) {
      const int64_t bytes = tensors[i].shard.boxes[k].element_count() * dtype_size(tensors[i].dtype);
      pieces.push_back({i, k, offset, bytes});
      offset += bytes;
    }
  }
  std::stable_sort(pieces.begin(), pieces.end(), [&](const Piece& a, const Piece& b) {
    return dtype_size(tensors[a.tensor].dtype) > dtype_size(tensors[b.tensor].dtype);
  });
  return pieces;
}

std::vector<std::vector<Piece>> split_into_files(const std::vector<Piece>& pieces, int64_t file_bytes) {
  std::vector<std::vector<Piece>> files(1);
  int64_t filled = 0;
  for (const Piece& piece : pieces) {
    if (!files.back().empty() && filled + piece.bytes > file_bytes) {
      files.emplace_back();
      filled = 0;
    }
    files.back().push_back(piece);
    filled += piece.bytes;
  }
  return files;
}

// A tensor that stands whole in one box keeps its plain name, so that other readers of safetensors find it.
std::string entry_name(const CheckpointTensor& tensor, const Box& box) {
  return tensor.shard.is_whole() ? tensor.name : tensor.name + box_text(box);
}

std::vector<uint64_t> write_piece(StreamedFile& file, const CheckpointTensor& tensor, const Piece& piece,
                                  std::vector<std::byte>& buffer) {
  std::vector<uint64_t> checksums;
  const std::byte* host = tensor.host_data();
  for (int64_t done = 0; done < piece.bytes; done += kChecksumBytes) {
    const auto count = static_cast<size_t>(std::min(kChecksumBytes, piece.bytes - done));
    const std::byte* data = host == nullptr ? nullptr : host + piece.source_offset + done;
    if (data == nullptr) {
      buffer.resize(static_cast<size_t>(kChecksumBytes));
      tensor.copy_bytes(piece.source_offset + done, {buffer.data(), count});
      data = buffer.data();
    }
    checksums.push_back(hash64(std::span<const std::byte>(data, count)));
    file.write(std::span<const std::byte>(data, count));
  }
  return checksums;
}

// Writes one file and enters its boxes into `index`; tensor number `of_entry[i]` there is that of entry i.
void write_file(const std::string& directory, const std::string& name, const std::vector<CheckpointTensor>& tensors,
                const std::vector<Piece>& pieces, const std::vector<size_t>& of_entry, RankIndex& index) {
  std::vector<SafetensorsItem> items;
  for (const Piece& piece : pieces) {
    const CheckpointTensor& tensor = tensors[piece.tensor];
    const Box& box = tensor.shard.boxes[piece.box];
    items.push_back({entry_name(tensor, box), tensor.dtype, box.size});
  }
  const std::string header = safetensors_header(items);
  StreamedFile file(directory + "/" + name);
  file.write(header);
  std::vector<std::byte> buffer;
  auto offset = static_cast<int64_t>(header.size());
  for (const Piece& piece : pieces) {
    const CheckpointTensor& tensor = tensors[piece.tensor];
    const Box& box = tensor.shard.boxes[piece.box];
    index.tensors[of_entry[piece.tensor]].boxes.push_back(
        {box, name, offset, piece.bytes, write_piece(file, tensor, piece, buffer)});
    offset += piece.bytes;
  }
  file.finish();
  index.files.push_back({name, offset, static_cast<int64_t>(header.size()), hash64(header)});
}

}  // namespace

RankPart write_rank_part(const std::string& directory, int64_t rank, const std::vector<CheckpointTensor>& tensors,
                         int64_t file_bytes) {
  NamedTensors named = group_by_name(tensors);
  check_boxes(tensors, named);
  RankIndex index;
  index.rank = rank;
  index.tensors = std::move(named.tensors);
  RankPart part;
  for (const CheckpointTensor& tensor : tensors) part.tensor_bytes += tensor.bytes();
  const auto files = split_into_files(pieces_of(tensors), file_bytes);
  const auto count = static_cast<int64_t>(files.size());
  for (int64_t i = 0; i < count; ++i)
    write_file(directory, rank_file_name(rank, i, count), tensors, files[static_cast<size_t>(i)], named.of_entry,
               index);
  const std::string text = rank_index_text(index);
  part.entry = {rank_index_name(rank), static_cast<int64_t>(text.size()), hash64(text)};
  OutputFile file(directory + "/" + part.entry.index);
  file.write(text);
  file.sync();
  file.close();
  return part;
}

}  // namespace conclave
