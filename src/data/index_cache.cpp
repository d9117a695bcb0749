#include "data/index_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"

namespace conclave {

/// Bytes of an index: zeroed private memory, a shared mapping of a file being written, or a read-only map.
class IndexMemory {
 public:
  static std::unique_ptr<IndexMemory> anonymous(size_t size) { return make(size, MAP_PRIVATE | MAP_ANONYMOUS, -1); }
  /// The disk space is reserved first, so that a full disk is an error here and no signal later.
  static std::unique_ptr<IndexMemory> of_new_file(const std::string& path, size_t size);
  static std::unique_ptr<IndexMemory> of_file(const std::string& path) {
    auto memory = std::make_unique<IndexMemory>();
    memory->map_ = MappedFile(path);
    return memory;
  }
  ~IndexMemory() {
    if (writable_ != nullptr) ::munmap(writable_, size_);
  }
  IndexMemory() = default;
  IndexMemory(const IndexMemory&) = delete;
  IndexMemory& operator=(const IndexMemory&) = delete;

  std::span<std::byte> writable() { return {writable_, size_}; }
  std::span<const std::byte> bytes() const {
    if (writable_ == nullptr) return map_.bytes();
    return {writable_, size_};
  }
  void sync() {
    CONCLAVE_USER_CHECK(::msync(writable_, size_, MS_SYNC) == 0, "cannot write an index of the data to disk: {}",
                        std::strerror(errno));
  }

 private:
  static std::unique_ptr<IndexMemory> make(size_t size, int flags, int fd);
  MappedFile map_;
  std::byte* writable_ = nullptr;
  size_t size_ = 0;
};

std::unique_ptr<IndexMemory> IndexMemory::make(size_t size, int flags, int fd) {
  auto memory = std::make_unique<IndexMemory>();
  void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  CONCLAVE_USER_CHECK(address != MAP_FAILED, "cannot map {} bytes for an index of the data: {}", size,
                      std::strerror(errno));
  memory->writable_ = static_cast<std::byte*>(address);
  memory->size_ = size;
  return memory;
}

std::unique_ptr<IndexMemory> IndexMemory::of_new_file(const std::string& path, size_t size) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  CONCLAVE_USER_CHECK(fd >= 0, "cannot write the index cache '{}': {}; choose a folder with --data-cache-path", path,
                      std::strerror(errno));
  const int status = ::posix_fallocate(fd, 0, static_cast<off_t>(size));
  if (status != 0) {
    ::close(fd);
    ::unlink(path.c_str());
    throw_user(
        fmt::format("cannot reserve {} bytes for the index cache '{}': {}; free some space or choose another "
                    "folder with --data-cache-path",
                    size, path, std::strerror(status)));
  }
  try {
    auto memory = make(size, MAP_SHARED, fd);
    ::close(fd);
    return memory;
  } catch (...) {
    ::close(fd);
    ::unlink(path.c_str());
    throw;
  }
}

IndexFile::IndexFile() = default;
IndexFile::~IndexFile() = default;

namespace {

constexpr std::string_view kMagic = "CNCLVIDX";
constexpr size_t kPage = 4096, kAlign = 64;

size_t align_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

size_t find_section(const IndexPlan& plan, std::string_view name) {
  for (size_t i = 0; i < plan.sections.size(); ++i) {
    if (plan.sections[i].name == name) return i;
  }
  throw_internal(__FILE__, __LINE__, "section", fmt::format("index has no section '{}'", name));
}

size_t section_bytes(const IndexSection& section) {
  return static_cast<size_t>(section.count * dtype_size(section.dtype));
}

// Whole up to 512 MiB; beyond that 512 blocks of 1 MiB, so that opening stays fast.
std::string checksum(std::span<const std::byte> bytes) {
  constexpr size_t kWhole = size_t{512} << 20, kBlock = size_t{1} << 20, kBlocks = 512;
  if (bytes.size() <= kWhole) return hex64(hash64(bytes));
  Hasher64 hasher;
  for (size_t i = 0; i < kBlocks; ++i) {
    hasher.update(bytes.subspan((bytes.size() - kBlock) / (kBlocks - 1) * i, kBlock));
  }
  return hex64(hasher.digest());
}

std::string header_text(const Json& description, const IndexPlan& plan, const std::string& sum) {
  Json sections = Json::array();
  for (const IndexSection& section : plan.sections) {
    Json entry = Json::object();
    entry["name"] = section.name;
    entry["dtype"] = dtype_name(section.dtype);
    entry["count"] = section.count;
    sections.push_back(entry);
  }
  Json header = Json::object();
  header["description"] = description;
  header["facts"] = plan.facts;
  header["sections"] = sections;
  header["checksum"] = sum;
  return header.dump();
}

}  // namespace

/// Makes, writes and reads IndexFiles.
class IndexStore {
 public:
  explicit IndexStore(const IndexRecipe& recipe) : recipe_(recipe) {}

  std::shared_ptr<const IndexFile> build_in_memory() { return build(""); }
  std::shared_ptr<const IndexFile> build_file(const std::string& path);
  /// Throws UserError if the file is damaged or of another description.
  std::shared_ptr<const IndexFile> load(const std::string& path);

 private:
  std::shared_ptr<const IndexFile> build(const std::string& path);
  size_t lay_out(IndexFile& file, size_t begin);

  const IndexRecipe& recipe_;
};

size_t IndexStore::lay_out(IndexFile& file, size_t begin) {
  for (const IndexSection& section : file.plan_.sections) {
    file.offsets_.push_back(begin);
    begin = align_up(begin + section_bytes(section), kAlign);
  }
  return begin;
}

std::shared_ptr<const IndexFile> IndexStore::build(const std::string& path) {
  std::shared_ptr<IndexFile> file(new IndexFile());
  file->path_ = path;
  file->plan_ = recipe_.plan();
  const std::string blank = header_text(recipe_.description, file->plan_, std::string(16, '0'));
  const size_t begin = align_up(24 + blank.size(), kPage);
  const size_t size = lay_out(*file, begin);
  file->memory_ = path.empty() ? IndexMemory::anonymous(size) : IndexMemory::of_new_file(path, size);
  const std::span<std::byte> bytes = file->memory_->writable();
  std::vector<std::span<std::byte>> arrays;
  for (size_t i = 0; i < file->offsets_.size(); ++i) {
    arrays.push_back(bytes.subspan(file->offsets_[i], section_bytes(file->plan_.sections[i])));
  }
  recipe_.fill(file->plan_, arrays);
  if (path.empty()) return file;
  const std::string header = header_text(recipe_.description, file->plan_, checksum(bytes.subspan(begin)));
  const uint64_t numbers[2] = {header.size(), hash64(std::string_view(header))};
  std::memcpy(bytes.data(), kMagic.data(), 8);
  std::memcpy(bytes.data() + 8, numbers, 16);
  std::memcpy(bytes.data() + 24, header.data(), header.size());
  file->memory_->sync();
  return file;
}

std::shared_ptr<const IndexFile> IndexStore::build_file(const std::string& path) {
  const std::string temporary = fmt::format("{}.tmp.{}", path, ::getpid());
  try {
    build(temporary);
    rename_durably(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  return load(path);
}

std::shared_ptr<const IndexFile> IndexStore::load(const std::string& path) {
  std::shared_ptr<IndexFile> file(new IndexFile());
  file->path_ = path;
  file->memory_ = IndexMemory::of_file(path);
  const std::span<const std::byte> bytes = file->memory_->bytes();
  uint64_t numbers[2];
  CONCLAVE_USER_CHECK(bytes.size() >= 24 && std::memcmp(bytes.data(), kMagic.data(), 8) == 0, "no index");
  std::memcpy(numbers, bytes.data() + 8, 16);
  CONCLAVE_USER_CHECK(numbers[0] <= bytes.size() - 24, "its header is cut short");
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + 24, numbers[0]);
  CONCLAVE_USER_CHECK(hash64(text) == numbers[1], "its header does not match its hash");
  const Json header = Json::parse(text, path);
  CONCLAVE_USER_CHECK(header.at("description").dump() == recipe_.description.dump(), "it is of another data set");
  file->plan_.facts = header.at("facts");
  const size_t begin = align_up(24 + text.size(), kPage);
  for (const Json& entry : header.at("sections").as_array()) {
    IndexSection section{entry.at("name").as_string(), dtype_from_name(entry.at("dtype").as_string()),
                         entry.at("count").as_int()};
    CONCLAVE_USER_CHECK(section.count >= 0 && section.count <= static_cast<int64_t>(bytes.size()),
                        "a section is cut short");
    file->plan_.sections.push_back(std::move(section));
  }
  CONCLAVE_USER_CHECK(lay_out(*file, begin) == bytes.size(), "it has {} bytes", bytes.size());
  CONCLAVE_USER_CHECK(checksum(bytes.subspan(begin)) == header.at("checksum").as_string(), "its checksum is wrong");
  return file;
}

DType IndexFile::dtype(std::string_view section) const { return plan_.sections[find_section(plan_, section)].dtype; }

std::span<const std::byte> IndexFile::bytes(std::string_view section) const {
  const size_t i = find_section(plan_, section);
  return memory_->bytes().subspan(offsets_[i], section_bytes(plan_.sections[i]));
}

template <typename T>
std::span<const T> IndexFile::view(std::string_view section) const {
  CONCLAVE_CHECK(dtype(section) == DTypeOf<T>::value, "section '{}' is {}", section, dtype_name(dtype(section)));
  const std::span<const std::byte> raw = bytes(section);
  return {reinterpret_cast<const T*>(raw.data()), raw.size() / sizeof(T)};
}

template std::span<const int16_t> IndexFile::view(std::string_view) const;
template std::span<const int32_t> IndexFile::view(std::string_view) const;
template std::span<const uint32_t> IndexFile::view(std::string_view) const;
template std::span<const int64_t> IndexFile::view(std::string_view) const;

namespace {

std::shared_ptr<const IndexFile> try_load(IndexStore& store, const std::string& path) {
  if (!file_exists(path)) return nullptr;
  try {
    return store.load(path);
  } catch (const UserError& error) {
    log_warning("the index cache '{}' is damaged ({}); it is made anew", path, error.what());
    return nullptr;
  }
}

}  // namespace

std::shared_ptr<const IndexFile> load_or_build_index(const IndexCache& cache, const std::string& data_prefix,
                                                     const IndexRecipe& recipe) {
  IndexStore store(recipe);
  if (cache.place == IndexCache::Place::kMemory) return store.build_in_memory();
  const bool beside = cache.place == IndexCache::Place::kBesideData;
  const std::filesystem::path folder =
      beside ? std::filesystem::path(data_prefix).parent_path() / "index-cache" : std::filesystem::path(cache.folder);
  const std::string path =
      (folder / (hex64(hash64(recipe.description.dump())) + "-" + recipe.label)).string() + ".index";
  if (auto found = try_load(store, path)) return found;
  std::unique_ptr<FileLock> lock;
  try {
    make_directories(folder.string());
    lock = std::make_unique<FileLock>(path + ".lock");
  } catch (const UserError& error) {
    if (!beside) throw;
    log_warning(
        "no index cache beside the data ({}); the index is made in memory at every start; choose a folder with "
        "--data-cache-path",
        error.what());
    return store.build_in_memory();
  }
  if (auto found = try_load(store, path)) return found;  // another process was faster
  return store.build_file(path);
}

}  // namespace conclave
