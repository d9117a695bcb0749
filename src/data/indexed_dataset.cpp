#include "data/indexed_dataset.h"

#include <array>
#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/hash.h"

namespace conclave {
namespace {

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr int64_t kHeaderBytes = 34;
constexpr std::array<DType, 9> kTypeOfCode = {DType::kBool, DType::kU8,  DType::kI8,  DType::kI16, DType::kI32,
                                              DType::kI64,  DType::kF64, DType::kF32, DType::kU16};

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

template <typename T>
void widen(const std::byte* bytes, std::span<int32_t> out) {
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int32_t>(load<T>(bytes + i * sizeof(T)));
}

// Up to 64 blocks of 4 KiB, evenly spread, first and last included.
uint64_t sampled_hash(std::span<const std::byte> bytes) {
  constexpr size_t kBlock = 4096, kBlocks = 64;
  if (bytes.size() <= kBlock * kBlocks) return hash64(bytes);
  Hasher64 hasher;
  for (size_t i = 0; i < kBlocks; ++i) {
    hasher.update(bytes.subspan((bytes.size() - kBlock) / (kBlocks - 1) * i, kBlock));
  }
  hasher.update(bytes.last(kBlock));
  return hasher.digest();
}

}  // namespace

std::vector<int32_t> TokenSource::read_sequence(int64_t sequence) const {
  CONCLAVE_CHECK(sequence >= 0 && sequence < sequence_count(), "sequence {} of {}", sequence, sequence_count());
  const int32_t length = lengths()[sequence];
  CONCLAVE_USER_CHECK(length >= 0, "'{}': sequence {} has {} tokens; it is damaged", name(), sequence, length);
  std::vector<int32_t> tokens(static_cast<size_t>(length));
  read(sequence, 0, tokens);
  return tokens;
}

IndexedDataset::IndexedDataset(const std::string& prefix, IndexCheck check)
    : prefix_(prefix), idx_file_(prefix + ".idx"), bin_file_(prefix + ".bin"), map_(prefix + ".idx") {
  bin_bytes_ = bin_file_.size();
  open_index();
  if (check == IndexCheck::kWhole) check_whole();
}

void IndexedDataset::open_index() {
  const std::string& path = idx_file_.path();
  const std::span<const std::byte> bytes = map_.bytes();
  const int64_t size = static_cast<int64_t>(bytes.size());
  CONCLAVE_USER_CHECK(size >= kHeaderBytes, "'{}' is damaged: {} bytes, but the header alone has {}; make it anew",
                      path, size, kHeaderBytes);
  CONCLAVE_USER_CHECK(std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0,
                      "'{}' is no index of a data set: it does not begin with MMIDIDX; give the prefix of a .bin/.idx "
                      "pair made by `conclave preprocess` or Megatron",
                      path);
  const uint64_t version = load<uint64_t>(bytes.data() + 9);
  CONCLAVE_USER_CHECK(version == 1, "'{}' has format version {}, only 1 is known; make it anew", path, version);
  dtype_code_ = load<uint8_t>(bytes.data() + 17);
  CONCLAVE_USER_CHECK(dtype_code_ >= 1 && dtype_code_ <= 8, "'{}' is damaged: element type code {} (1 to 8 are known)",
                      path, dtype_code_);
  dtype_ = kTypeOfCode[static_cast<size_t>(dtype_code_)];
  CONCLAVE_USER_CHECK(!is_floating(dtype_), "'{}' holds {} numbers, tokens must be integers", path, dtype_name(dtype_));

  const uint64_t sequences = load<uint64_t>(bytes.data() + 18);
  const uint64_t boundaries = load<uint64_t>(bytes.data() + 26);
  const uint64_t body = static_cast<uint64_t>(size - kHeaderBytes);
  CONCLAVE_USER_CHECK(sequences <= body / 12 && boundaries <= (body - sequences * 12) / 8,
                      "'{}' is cut short or damaged: {} bytes cannot hold the {} sequences and {} document boundaries "
                      "that its header promises; make it anew",
                      path, size, sequences, boundaries);
  const uint64_t rest = body - sequences * 12 - boundaries * 8;
  CONCLAVE_USER_CHECK(rest == 0 || rest == sequences,
                      "'{}' is damaged: {} bytes follow its {} sequences and {} document boundaries; expected none, or "
                      "one each (modes)",
                      path, rest, sequences, boundaries);
  CONCLAVE_USER_CHECK(sequences <= static_cast<uint64_t>(std::numeric_limits<int32_t>::max()),
                      "'{}' has {} sequences, at most {} can be indexed; split it", path, sequences,
                      std::numeric_limits<int32_t>::max());
  const std::byte* at = bytes.data() + kHeaderBytes;
  lengths_ = LengthView(at, static_cast<int64_t>(sequences));
  pointers_ = at + sequences * 4;
  boundaries_ = pointers_ + sequences * 8;
  boundary_count_ = static_cast<int64_t>(boundaries);
  if (rest > 0) modes_ = boundaries_ + boundaries * 8;
  const int64_t element = dtype_size(dtype_);
  CONCLAVE_USER_CHECK(bin_bytes_ % element == 0,
                      "'{}' has {} bytes, no multiple of the {} of one {} token; it is cut short", bin_file_.path(),
                      bin_bytes_, element, dtype_name(dtype_));
}

void IndexedDataset::check_whole() const {
  check_alive();
  const std::string& path = idx_file_.path();
  const int64_t count = lengths_.size(), element = dtype_size(dtype_);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t length = lengths_[i], begin = load<int64_t>(pointers_ + i * 8);
    CONCLAVE_USER_CHECK(length >= 0, "'{}' is damaged: sequence {} has {} tokens", path, i, length);
    CONCLAVE_USER_CHECK(
        begin >= 0 && begin <= bin_bytes_ - length * element,
        "'{}' does not fit '{}': sequence {} has {} tokens from byte {}, but the file has {} bytes; one "
        "of them is cut short or of another data set",
        path, bin_file_.path(), i, length, begin, bin_bytes_);
  }
  int64_t previous = 0;
  for (int64_t i = 0; i < boundary_count_; ++i) {
    const int64_t at = load<int64_t>(boundaries_ + i * 8);
    CONCLAVE_USER_CHECK(i > 0 || at == 0, "'{}' is damaged: the first document begins at sequence {}, not 0", path, at);
    CONCLAVE_USER_CHECK(at >= previous && at <= count,
                        "'{}' is damaged: document boundary {} is sequence {}, after {} and of {} sequences", path, i,
                        at, previous, count);
    previous = at;
  }
}

void IndexedDataset::check_alive() const {
  const int64_t now = idx_file_.size();
  CONCLAVE_USER_CHECK(now >= static_cast<int64_t>(map_.size()),
                      "'{}' shrank from {} to {} bytes while in use; restore it and resume", idx_file_.path(),
                      map_.size(), now);
}

int64_t IndexedDataset::pointer(int64_t sequence) const {
  CONCLAVE_CHECK(sequence >= 0 && sequence < lengths_.size(), "sequence {} of {}", sequence, lengths_.size());
  return load<int64_t>(pointers_ + sequence * 8);
}

int64_t IndexedDataset::boundary(int64_t i) const {
  CONCLAVE_CHECK(i >= 0 && i < boundary_count_, "document boundary {} of {}", i, boundary_count_);
  return load<int64_t>(boundaries_ + i * 8);
}

int8_t IndexedDataset::mode(int64_t sequence) const {
  CONCLAVE_CHECK(multimodal() && sequence >= 0 && sequence < lengths_.size(), "mode of sequence {}", sequence);
  return load<int8_t>(modes_ + sequence);
}

void IndexedDataset::read(int64_t sequence, int64_t offset, std::span<int32_t> out) const {
  CONCLAVE_CHECK(sequence >= 0 && sequence < lengths_.size(), "sequence {} of {}", sequence, lengths_.size());
  check_alive();
  const int64_t count = static_cast<int64_t>(out.size()), length = lengths_[sequence];
  CONCLAVE_USER_CHECK(offset >= 0 && length >= 0 && count <= length && offset <= length - count,
                      "'{}': {} tokens from token {} were asked of sequence {}, which has {}", idx_file_.path(), count,
                      offset, sequence, length);
  const int64_t element = dtype_size(dtype_), begin = load<int64_t>(pointers_ + sequence * 8);
  CONCLAVE_USER_CHECK(begin >= 0 && begin <= bin_bytes_ - length * element,
                      "'{}' does not fit '{}': sequence {} has {} tokens from byte {}, but the file has {} bytes",
                      idx_file_.path(), bin_file_.path(), sequence, length, begin, bin_bytes_);
  const int64_t from = begin + offset * element;
  if (dtype_ == DType::kI32) {
    bin_file_.read_at(from, std::as_writable_bytes(out));
    return;
  }
  thread_local std::vector<std::byte> buffer;
  buffer.resize(static_cast<size_t>(count * element));
  bin_file_.read_at(from, buffer);
  if (dtype_ == DType::kU16) return widen<uint16_t>(buffer.data(), out);
  if (dtype_ == DType::kI16) return widen<int16_t>(buffer.data(), out);
  if (dtype_ == DType::kU8) return widen<uint8_t>(buffer.data(), out);
  if (dtype_ == DType::kI8) return widen<int8_t>(buffer.data(), out);
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t token = load<int64_t>(buffer.data() + i * 8);
    out[i] = static_cast<int32_t>(token);
    CONCLAVE_USER_CHECK(out[i] == token, "'{}': token {} of sequence {} is {}, too large for 32 bits", bin_file_.path(),
                        offset + static_cast<int64_t>(i), sequence, token);
  }
}

std::string IndexedDataset::content_id() const {
  check_alive();
  Hasher64 hasher;
  const uint64_t parts[2] = {static_cast<uint64_t>(bin_bytes_), sampled_hash(map_.bytes())};
  hasher.update(std::as_bytes(std::span(parts)));
  return hex64(hasher.digest());
}

Json IndexedDataset::fingerprint() const {
  Json out = Json::object();
  out["content"] = content_id();
  out["idx_bytes"] = static_cast<int64_t>(map_.size());
  out["bin_bytes"] = bin_bytes_;
  std::error_code code;
  const auto changed = std::filesystem::last_write_time(idx_file_.path(), code);
  out["idx_changed"] = code ? int64_t{0} : static_cast<int64_t>(changed.time_since_epoch().count());
  return out;
}

}  // namespace conclave
