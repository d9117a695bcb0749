// Index arrays (order of documents, samples, picks of a blend) kept in files, so that they are computed once and then
// only mapped.
//
// File: "CNCLVIDX"; u64 L; u64 XXH3 of the header; L bytes of JSON {description, facts, sections, checksum}; from the
// next multiple of 4096 on the sections, each beginning at a multiple of 64.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/json.h"

namespace conclave {

/// Where indices are kept.
struct IndexCache {
  enum class Place {
    kMemory,      ///< nowhere: built anew each time
    kFolder,      ///< in `folder`; not being able to write there is an error
    kBesideData,  ///< in index-cache/ beside the data; in memory, with a warning, where that cannot be written
  };
  Place place = Place::kBesideData;
  std::string folder;
};

/// One array of an index.
struct IndexSection {
  std::string name;
  DType dtype = DType::kI32;
  int64_t count = 0;
};

/// What an index will hold, known before its arrays are filled.
struct IndexPlan {
  Json facts;
  std::vector<IndexSection> sections;
};

/// A mapping of some bytes, private or of a file; see IndexFile.
class IndexMemory;

/// A finished index: its facts and arrays. Immutable.
class IndexFile {
 public:
  ~IndexFile();
  IndexFile(const IndexFile&) = delete;
  IndexFile& operator=(const IndexFile&) = delete;

  const Json& facts() const { return plan_.facts; }
  DType dtype(std::string_view section) const;
  /// Bytes of the section; throws InternalError if there is none of that name.
  std::span<const std::byte> bytes(std::string_view section) const;
  /// Typed view; T must be the section's type.
  template <typename T>
  std::span<const T> view(std::string_view section) const;
  /// Empty for an index in memory.
  const std::string& path() const { return path_; }

 private:
  friend class IndexStore;
  IndexFile();
  std::string path_;
  IndexPlan plan_;
  std::vector<size_t> offsets_;
  std::unique_ptr<IndexMemory> memory_;
};

/// How to make an index that is not there.
struct IndexRecipe {
  /// File name stem, e.g. "gpt-train".
  std::string label;
  /// Whatever decides the content; its hash names the file, and a file with another description is not used.
  Json description;
  /// Facts and sizes; may be slow.
  std::function<IndexPlan()> plan;
  /// Fills the arrays, in the order of the plan; they are zero before.
  std::function<void(const IndexPlan&, std::span<const std::span<std::byte>>)> fill;
};

/// Maps the index if it is there and whole, else makes it under a lock and lets it appear by a rename; a damaged one is
/// made anew. `data_prefix` says what "beside the data" means.
std::shared_ptr<const IndexFile> load_or_build_index(const IndexCache& cache, const std::string& data_prefix,
                                                     const IndexRecipe& recipe);

}  // namespace conclave
