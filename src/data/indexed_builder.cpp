#include <unistd.h>

#include <array>
#include <filesystem>
#include <limits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/indexed_dataset.h"

namespace conclave {
namespace {

constexpr size_t kFlushBytes = 1 << 20;

int code_of(DType dtype) {
  switch (dtype) {
    case DType::kU8:
      return 1;
    case DType::kI8:
      return 2;
    case DType::kI16:
      return 3;
    case DType::kI32:
      return 4;
    case DType::kI64:
      return 5;
    case DType::kU16:
      return 8;
    default:
      throw_internal(__FILE__, __LINE__, "integer", fmt::format("{} is no type of tokens", dtype_name(dtype)));
  }
}

template <typename T>
void append(std::vector<std::byte>& out, T value) {
  const std::array<std::byte, sizeof(T)> bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename T>
void append_narrow(std::vector<std::byte>& out, std::span<const int32_t> tokens, const std::string& prefix) {
  const size_t start = out.size();
  out.resize(start + tokens.size() * sizeof(T));
  std::byte* at = out.data() + start;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const T value = static_cast<T>(tokens[i]);
    CONCLAVE_USER_CHECK(static_cast<int64_t>(value) == tokens[i],
                        "'{}.bin': token {} does not fit the element type ({} bytes each); use a wider one", prefix,
                        tokens[i], sizeof(T));
    std::memcpy(at + i * sizeof(T), &value, sizeof(T));
  }
}

void append_tokens(std::vector<std::byte>& out, std::span<const int32_t> tokens, DType dtype,
                   const std::string& prefix) {
  switch (dtype) {
    case DType::kU8:
      return append_narrow<uint8_t>(out, tokens, prefix);
    case DType::kI8:
      return append_narrow<int8_t>(out, tokens, prefix);
    case DType::kI16:
      return append_narrow<int16_t>(out, tokens, prefix);
    case DType::kU16:
      return append_narrow<uint16_t>(out, tokens, prefix);
    case DType::kI64:
      return append_narrow<int64_t>(out, tokens, prefix);
    default:
      return append_narrow<int32_t>(out, tokens, prefix);
  }
}

}  // namespace

DType token_dtype(int64_t vocab_size) { return vocab_size < 65500 ? DType::kU16 : DType::kI32; }

struct IndexedDatasetBuilder::State {
  std::string prefix;
  DType dtype;
  Modes modes;
  std::string bin_temporary;
  std::string idx_temporary;
  OutputFile bin;
  std::vector<std::byte> pending;
  std::vector<int32_t> lengths;
  std::vector<int64_t> boundaries = {0};
  std::vector<int8_t> mode_of;
  int64_t tokens = 0;

  State(std::string p, DType d, Modes m)
      : prefix(std::move(p)),
        dtype(d),
        modes(m),
        bin_temporary(fmt::format("{}.bin.tmp.{}", prefix, ::getpid())),
        idx_temporary(fmt::format("{}.idx.tmp.{}", prefix, ::getpid())),
        bin(bin_temporary) {}

  void flush() {
    bin.write(pending);
    pending.clear();
  }
  void write_index() const;
};

void IndexedDatasetBuilder::State::write_index() const {
  OutputFile file(idx_temporary);
  std::vector<std::byte> bytes;
  const auto spill = [&](size_t at_least) {
    if (bytes.size() < at_least) return;
    file.write(bytes);
    bytes.clear();
  };
  for (const char c : std::string_view("MMIDIDX\0\0", 9)) append(bytes, c);
  append<uint64_t>(bytes, 1);
  append(bytes, static_cast<uint8_t>(code_of(dtype)));
  append<uint64_t>(bytes, lengths.size());
  append<uint64_t>(bytes, boundaries.size());
  file.write(bytes);
  bytes.clear();
  file.write(std::as_bytes(std::span(lengths)));
  int64_t pointer = 0;
  for (const int32_t length : lengths) {
    append(bytes, pointer);
    pointer += length * dtype_size(dtype);
    spill(kFlushBytes);
  }
  spill(0);
  file.write(std::as_bytes(std::span(boundaries)));
  if (modes == Modes::kMultimodal) file.write(std::as_bytes(std::span(mode_of)));
  file.sync();
  file.close();
}

IndexedDatasetBuilder::IndexedDatasetBuilder(std::string prefix, DType dtype, Modes modes) {
  code_of(dtype);
  const std::string folder = std::filesystem::path(prefix).parent_path().string();
  if (!folder.empty()) make_directories(folder);
  state_ = std::make_unique<State>(std::move(prefix), dtype, modes);
}

IndexedDatasetBuilder::~IndexedDatasetBuilder() {
  if (!state_) return;
  ::unlink(state_->bin_temporary.c_str());
  ::unlink(state_->idx_temporary.c_str());
}

void IndexedDatasetBuilder::add_sequence(std::span<const int32_t> tokens, int8_t mode) {
  State& s = *state_;
  CONCLAVE_USER_CHECK(tokens.size() <= static_cast<size_t>(std::numeric_limits<int32_t>::max()),
                      "'{}.bin': a sequence of {} tokens, at most {} are possible; split it", s.prefix, tokens.size(),
                      std::numeric_limits<int32_t>::max());
  append_tokens(s.pending, tokens, s.dtype, s.prefix);
  s.lengths.push_back(static_cast<int32_t>(tokens.size()));
  if (s.modes == Modes::kMultimodal) s.mode_of.push_back(mode);
  s.tokens += static_cast<int64_t>(tokens.size());
  if (s.pending.size() >= kFlushBytes) s.flush();
}

void IndexedDatasetBuilder::end_document() {
  state_->boundaries.push_back(static_cast<int64_t>(state_->lengths.size()));
}

void IndexedDatasetBuilder::add_dataset(const IndexedDataset& other) {
  State& s = *state_;
  CONCLAVE_USER_CHECK(other.dtype() == s.dtype, "cannot append '{}' ({}) to '{}' ({}): the element types differ",
                      other.name(), dtype_name(other.dtype()), s.prefix, dtype_name(s.dtype));
  int64_t next = 1;
  for (int64_t i = 0; i <= other.sequence_count(); ++i) {
    for (; next < other.boundary_count() && other.boundary(next) == i; ++next) end_document();
    if (i == other.sequence_count()) break;
    add_sequence(other.read_sequence(i), other.multimodal() ? other.mode(i) : int8_t{0});
  }
}

void IndexedDatasetBuilder::finalize() {
  State& s = *state_;
  s.flush();
  s.bin.sync();
  s.bin.close();
  s.write_index();
  // An older .idx must never stand beside the new .bin.
  const std::string idx = s.prefix + ".idx";
  if (file_exists(idx)) remove_all(idx);
  rename_durably(s.bin_temporary, s.prefix + ".bin");
  rename_durably(s.idx_temporary, idx);
}

int64_t IndexedDatasetBuilder::sequence_count() const { return static_cast<int64_t>(state_->lengths.size()); }
int64_t IndexedDatasetBuilder::document_count() const { return static_cast<int64_t>(state_->boundaries.size()) - 1; }
int64_t IndexedDatasetBuilder::token_count() const { return state_->tokens; }

}  // namespace conclave
