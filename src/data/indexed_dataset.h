// Megatron's indexed data set: PREFIX.bin holds raw tokens, PREFIX.idx says where each sequence lies.
//
// .idx, little-endian: "MMIDIDX" 00 00; u64 version 1; u8 element code (1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 6 f64, 7 f32,
// 8 u16); u64 N sequences; u64 D document boundaries; i32[N] tokens; i64[N] byte offsets in .bin; i64[D] boundaries
// (sequence numbers, from 0); and, in multimodal files only, i8[N] modes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/dtype.h"
#include "base/file.h"
#include "data/token_source.h"

namespace conclave {

/// How much of the .idx is looked at when opening. Reads are checked in either case.
enum class IndexCheck {
  kWhole,   ///< every sequence and boundary: O(N)
  kHeader,  ///< header and file sizes only: O(1); check_whole() does the rest
};

/// The .idx is mapped, the tokens are read with pread: a .bin that shrinks or vanishes under a running job gives an
/// error, not a signal.
class IndexedDataset : public TokenSource {
 public:
  /// Throws UserError naming the file and the fault if either file is missing, damaged, or does not fit the other.
  explicit IndexedDataset(const std::string& prefix, IndexCheck check = IndexCheck::kWhole);

  const std::string& name() const override { return prefix_; }
  LengthView lengths() const override { return lengths_; }
  void read(int64_t sequence, int64_t offset, std::span<int32_t> out) const override;
  std::string content_id() const override;
  Json fingerprint() const override;
  void check_whole() const override;
  void check_alive() const override;

  DType dtype() const { return dtype_; }
  /// Code of the element type in the file.
  int dtype_code() const { return dtype_code_; }
  /// Byte offset of the sequence in .bin.
  int64_t pointer(int64_t sequence) const;
  /// D; documents are one fewer.
  int64_t boundary_count() const { return boundary_count_; }
  /// Sequence number where document i begins, 0 <= i < D.
  int64_t boundary(int64_t i) const;
  bool multimodal() const { return modes_ != nullptr; }
  int8_t mode(int64_t sequence) const;
  int64_t bin_bytes() const { return bin_bytes_; }
  int64_t token_count() const { return bin_bytes_ / dtype_size(dtype_); }

 private:
  void open_index();

  std::string prefix_;
  InputFile idx_file_;
  InputFile bin_file_;
  MappedFile map_;
  int64_t bin_bytes_ = 0;
  DType dtype_ = DType::kI32;
  int dtype_code_ = 0;
  LengthView lengths_;
  const std::byte* pointers_ = nullptr;
  const std::byte* boundaries_ = nullptr;
  const std::byte* modes_ = nullptr;
  int64_t boundary_count_ = 0;
};

/// Element type that holds every id below `vocab_size`: u16 below 65,500, else i32.
DType token_dtype(int64_t vocab_size);

/// Writes PREFIX.bin and PREFIX.idx. Both appear under their names in finalize(), .idx last; without it nothing stays.
class IndexedDatasetBuilder {
 public:
  enum class Modes { kNone, kMultimodal };
  IndexedDatasetBuilder(std::string prefix, DType dtype, Modes modes = Modes::kNone);
  ~IndexedDatasetBuilder();
  IndexedDatasetBuilder(const IndexedDatasetBuilder&) = delete;
  IndexedDatasetBuilder& operator=(const IndexedDatasetBuilder&) = delete;

  /// Throws UserError if a token does not fit the element type.
  void add_sequence(std::span<const int32_t> tokens, int8_t mode = 0);
  void end_document();
  /// Appends all of another data set of the same element type.
  void add_dataset(const IndexedDataset& other);
  void finalize();

  int64_t sequence_count() const;
  int64_t document_count() const;
  int64_t token_count() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace conclave
