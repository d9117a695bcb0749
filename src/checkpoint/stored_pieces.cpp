#include "checkpoint/stored_pieces.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/box_overlap.h"
#include "checkpoint/directory.h"

namespace conclave {
namespace {

constexpr size_t kMaxOpenFiles = 64;
// Bytes that go through the host at a time on the way to a device.
constexpr int64_t kStagingBytes = int64_t{32} << 20;

std::vector<const Box*> boxes_of(const TensorRecord& record) {
  std::vector<const Box*> boxes;
  for (const StoredBox& stored : record.boxes) boxes.push_back(&stored.box);
  return boxes;
}

// Runs `read` and adds the advice to what it throws.
template <typename Read>
auto with_advice(const std::string& directory, const Read& read) {
  try {
    return read();
  } catch (const UserError& error) {
    throw_user(fmt::format("[checkpoint/load] {}{}", error.what(), advice_for_damaged(directory)));
  }
}

}  // namespace

StoredPieces::StoredPieces(const std::string& directory, bool verify_checksums)
    : directory_(directory), verify_checksums_(verify_checksums) {
  while (directory_.size() > 1 && directory_.back() == '/') directory_.pop_back();
  const std::string path = path_of(kManifestFile);
  CONCLAVE_USER_CHECK(
      file_exists(path),
      "[checkpoint/load] '{}' is no complete checkpoint: it has no {}; give a run directory or one of its "
      "iter_... directories",
      directory_, kManifestFile);
  manifest_ = with_advice(directory_, [&] { return parse_manifest(read_file(path), path); });
}

RankIndex StoredPieces::read_index(int64_t rank) const {
  const RankEntry& entry = manifest_.ranks[static_cast<size_t>(rank)];
  const std::string path = path_of(entry.index);
  const std::string text = read_file(path);
  CONCLAVE_USER_CHECK(static_cast<int64_t>(text.size()) == entry.bytes, "'{}' has {} bytes, {} were written", path,
                      text.size(), entry.bytes);
  CONCLAVE_USER_CHECK(hash64(text) == entry.checksum, "'{}' does not match its checksum in {}", path, kManifestFile);
  return parse_rank_index(text, path);
}

RankIndex StoredPieces::checked_index(int64_t rank) const {
  return with_advice(directory_, [&] { return read_index(rank); });
}

void StoredPieces::throw_damaged(const std::string& fault) const {
  throw_user(fmt::format("[checkpoint/load] {}{}", fault, advice_for_damaged(directory_)));
}

void StoredPieces::merge(RankIndex index, Contents& contents) const {
  for (IndexedFile& file : index.files) {
    const std::string path = path_of(file.name);
    CONCLAVE_USER_CHECK(contents.files.emplace(file.name, std::move(file)).second, "'{}' is claimed by two ranks",
                        path);
  }
  for (IndexedTensor& tensor : index.tensors) {
    TensorRecord& record = contents.records[tensor.name];
    if (record.info.name.empty()) {
      record.info = {tensor.name, tensor.dtype, tensor.shape};
    }
    CONCLAVE_USER_CHECK(record.info.dtype == tensor.dtype && record.info.shape == tensor.shape,
                        "'{}' gives tensor '{}' another shape or dtype than another rank's index",
                        path_of(rank_index_name(index.rank)), tensor.name);
    std::move(tensor.boxes.begin(), tensor.boxes.end(), std::back_inserter(record.boxes));
    record.tiling_checked = false;
  }
}

void StoredPieces::load(int64_t rank) {
  if (!loaded_.insert(rank).second) return;
  with_advice(directory_, [&] { merge(read_index(rank), contents_); });
}

void StoredPieces::load_all() {
  for (int64_t rank = 0; rank < static_cast<int64_t>(manifest_.ranks.size()); ++rank) load(rank);
}

const TensorRecord* StoredPieces::find(const std::string& name, int64_t first_rank) {
  if (first_rank < static_cast<int64_t>(manifest_.ranks.size())) load(first_rank);
  auto found = contents_.records.find(name);
  if (found == contents_.records.end()) {
    load_all();
    found = contents_.records.find(name);
  }
  return found == contents_.records.end() ? nullptr : &found->second;
}

void StoredPieces::make_available(const TensorRecord& record, const ShardSpec& wanted) {
  int64_t covered = 0;
  for (const Box& box : wanted.boxes) {
    for (const StoredBox& stored : record.boxes) {
      if (const auto shared = intersection(stored.box, box)) covered += shared->element_count();
    }
  }
  // Boxes of one rank do not overlap (its index was checked), so equal counts mean that each element is there once.
  if (covered == wanted.element_count() && (loaded_.size() == 1 || record.tiling_checked)) return;
  load_all();
  with_advice(directory_, [&] {
    const std::string fault = tiling_fault(record.info.shape, boxes_of(record));
    CONCLAVE_USER_CHECK(fault.empty(), "tensor '{}' in '{}' is not whole: {}", record.info.name, directory_, fault);
  });
  contents_.records.at(record.info.name).tiling_checked = true;
}

const InputFile& StoredPieces::open(const std::string& name) {
  const auto found = open_files_.find(name);
  if (found != open_files_.end()) return *found->second;
  if (open_files_.size() >= kMaxOpenFiles) open_files_.clear();
  return *open_files_.emplace(name, std::make_unique<InputFile>(path_of(name))).first->second;
}

void StoredPieces::read_stretch(const StoredBox& stored, int64_t index, std::span<std::byte> out) {
  const int64_t offset = stored.offset + index * kChecksumBytes;
  open(stored.file).read_at(offset, out);
  if (!verify_checksums_) return;
  CONCLAVE_USER_CHECK(hash64(std::span<const std::byte>(out)) == stored.checksums[static_cast<size_t>(index)],
                      "bytes {} to {} do not match their checksum: the file was changed or the disk fails", offset,
                      offset + static_cast<int64_t>(out.size()));
}

void StoredPieces::copy_range(const StoredBox& stored, int64_t begin, std::span<std::byte> out) {
  while (!out.empty()) {
    const int64_t index = begin / kChecksumBytes, start = index * kChecksumBytes;
    const auto size = static_cast<size_t>(std::min(kChecksumBytes, stored.bytes - start));
    size_t count = size;
    if (begin == start && out.size() >= size) {
      read_stretch(stored, index, out.first(size));
    } else {
      const auto skip = static_cast<size_t>(begin - start);
      count = std::min(out.size(), size - skip);
      if (stretch_file_ != stored.file || stretch_offset_ != stored.offset + start) {
        stretch_file_.clear();
        stretch_.resize(size);
        read_stretch(stored, index, stretch_);
        stretch_file_ = stored.file;
        stretch_offset_ = stored.offset + start;
      }
      std::memcpy(out.data(), stretch_.data() + skip, count);
    }
    begin += static_cast<int64_t>(count);
    out = out.subspan(count);
  }
}

void StoredPieces::read(const TensorRecord& record, const Box& wanted, std::span<std::byte> destination) {
  const int64_t width = dtype_size(record.info.dtype);
  for (const StoredBox& stored : record.boxes) {
    const auto shared = intersection(stored.box, wanted);
    if (!shared) continue;
    try {
      for_each_run(stored.box, wanted, *shared, [&](const CopyRun& run) {
        copy_range(
            stored, run.source * width,
            destination.subspan(static_cast<size_t>(run.destination * width), static_cast<size_t>(run.count * width)));
      });
    } catch (const UserError& error) {
      throw_user(fmt::format("[checkpoint/load] tensor '{}' in '{}': {}{}", record.info.name, path_of(stored.file),
                             error.what(), advice_for_damaged(directory_)));
    }
  }
}

void StoredPieces::read(const TensorRecord& record, const ShardSpec& wanted, const Stream& stream,
                        const Tensor& destination) {
  CONCLAVE_CHECK_EQ(destination.element_count(), wanted.element_count(), "elements to read tensor '{}' into",
                    record.info.name);
  Device& device = stream.device();
  if (device.is_sim()) return;
  const bool on_host = device.kind() == DeviceKind::kCpu;
  const int64_t width = dtype_size(record.info.dtype);
  std::vector<std::byte> staging;
  int64_t done = 0;  // elements
  for (const Box& box : wanted.boxes) {
    const int64_t count = box.element_count();
    if (on_host) {
      read(record, box, {destination.raw() + done * width, static_cast<size_t>(count * width)});
      done += count;
      continue;
    }
    for (int64_t begin = 0; begin < count; begin += kStagingBytes / width) {
      const int64_t part = std::min(kStagingBytes / width, count - begin);
      staging.resize(static_cast<size_t>(part * width));
      std::span<std::byte> rest(staging);
      for (const Box& piece : boxes_of_flat_range(box, begin, part)) {
        const auto bytes = static_cast<size_t>(piece.element_count() * width);
        read(record, piece, rest.first(bytes));
        rest = rest.subspan(bytes);
      }
      device.copy_from_host(stream, destination.raw() + done * width, staging.data(), part * width);
      device.synchronize();  // the staging memory is used again
      done += part;
    }
  }
}

bool StoredPieces::verify_file(const IndexedFile& file, std::vector<CheckpointFault>& faults) {
  const std::string path = path_of(file.name);
  try {
    const InputFile& input = open(file.name);
    CONCLAVE_USER_CHECK(input.size() == file.bytes, "'{}' has {} bytes, {} were written", path, input.size(),
                        file.bytes);
    std::vector<std::byte> header(static_cast<size_t>(file.header_bytes));
    input.read_at(0, header);
    CONCLAVE_USER_CHECK(hash64(std::span<const std::byte>(header)) == file.header_checksum,
                        "the header of '{}' does not match its checksum", path);
    return true;
  } catch (const UserError& error) {
    faults.push_back({path, "", error.what()});
    return false;
  }
}

void StoredPieces::verify_box(const std::string& tensor, const StoredBox& stored,
                              std::vector<CheckpointFault>& faults) {
  std::vector<std::byte> buffer;
  for (int64_t done = 0; done < stored.bytes; done += kChecksumBytes) {
    buffer.resize(static_cast<size_t>(std::min(kChecksumBytes, stored.bytes - done)));
    try {
      read_stretch(stored, done / kChecksumBytes, buffer);
    } catch (const UserError& error) {
      faults.push_back({path_of(stored.file), tensor, error.what()});
      if (file_size(path_of(stored.file)) < stored.offset + done + kChecksumBytes) return;
    }
  }
}

std::vector<CheckpointFault> StoredPieces::verify() {
  std::vector<CheckpointFault> faults;
  Contents contents;
  for (int64_t rank = 0; rank < static_cast<int64_t>(manifest_.ranks.size()); ++rank) {
    try {
      merge(read_index(rank), contents);
    } catch (const UserError& error) {
      faults.push_back({path_of(manifest_.ranks[static_cast<size_t>(rank)].index), "", error.what()});
    }
  }
  const bool indexes_sound = faults.empty();
  open_files_.clear();
  std::set<std::string> missing;
  for (const auto& [name, file] : contents.files) {
    if (!verify_file(file, faults) && !file_exists(path_of(name))) missing.insert(name);
  }
  verify_checksums_ = true;
  for (const auto& [name, record] : contents.records) {
    for (const StoredBox& stored : record.boxes) {
      if (!missing.contains(stored.file)) verify_box(name, stored, faults);
    }
    const std::string fault = indexes_sound ? tiling_fault(record.info.shape, boxes_of(record)) : "";
    if (!fault.empty()) faults.push_back({path_of(kManifestFile), name, fault});
  }
  return faults;
}

}  // namespace conclave
