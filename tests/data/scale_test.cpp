// A corpus of ten billion tokens opens in less than a second with its index cache, and is indexed in minutes with
// bounded memory. Its .bin is a sparse file: the tokens are all zero, nothing of the work is left out. The everyday
// form has a hundredth of the documents; CONCLAVE_TEST_FULL=1 makes the whole.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/clock.h"
#include "base/text.h"
#include "data/batch_source.h"
#include "scratch.h"

namespace conclave {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

int64_t private_bytes() {
  FILE* file = std::fopen("/proc/self/status", "r");
  char line[256];
  long long kib = -1;
  while (file != nullptr && std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "VmData: %lld kB", &kib) == 1) break;
  }
  if (file != nullptr) std::fclose(file);
  return kib * 1024;
}

/// While it lives the process may take only so many more bytes of memory of its own; maps of files are not counted.
class MemoryLimit {
 public:
  explicit MemoryLimit(int64_t more) {
    ::getrlimit(RLIMIT_DATA, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(private_bytes() + more);
    if (kSanitized) return;  // their shadow memory counts as the process's own
    EXPECT_EQ(::setrlimit(RLIMIT_DATA, &limit), 0);
  }
  ~MemoryLimit() { ::setrlimit(RLIMIT_DATA, &before_); }
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  rlimit before_ = {};
};

class ScaleTest : public ScratchTest {
 protected:
  /// Documents of 500 to 1499 tokens of two bytes.
  void write_corpus(const std::string& prefix, int64_t documents) {
    OutputFile idx(prefix + ".idx");
    const uint64_t counts[3] = {1, static_cast<uint64_t>(documents), static_cast<uint64_t>(documents + 1)};
    const auto bytes = [](const auto& value) { return std::as_bytes(std::span(&value, 1)); };
    idx.write(std::string_view("MMIDIDX\0\0", 9));
    idx.write(bytes(counts[0]));
    idx.write(std::string_view("\x08", 1));
    idx.write(bytes(counts[1]));
    idx.write(bytes(counts[2]));
    std::vector<int64_t> block;
    std::vector<int32_t> lengths;
    const auto length_of = [](int64_t i) { return 500 + (i * 7919 + i / 1000 * 31) % 1000; };
    const auto flush = [&](auto& values) {
      idx.write(std::as_bytes(std::span(values)));
      values.clear();
    };
    for (int64_t i = 0; i < documents; ++i) {
      lengths.push_back(static_cast<int32_t>(length_of(i)));
      tokens_ += lengths.back();
      if (lengths.size() == 65536) flush(lengths);
    }
    flush(lengths);
    int64_t pointer = 0;
    for (int64_t i = 0; i < documents; ++i) {
      block.push_back(pointer);
      pointer += 2 * length_of(i);
      if (block.size() == 65536) flush(block);
    }
    flush(block);
    for (int64_t i = 0; i <= documents; ++i) {
      block.push_back(i);
      if (block.size() == 65536) flush(block);
    }
    flush(block);
    idx.close();
    OutputFile(prefix + ".bin").close();
    ASSERT_EQ(::truncate((prefix + ".bin").c_str(), 2 * tokens_), 0);
  }
  int64_t tokens_ = 0;
};

TEST_F(ScaleTest, LargeCorporaOpenAtOnceAndIndexInBoundedMemory) {
  const bool full = std::getenv("CONCLAVE_TEST_FULL") != nullptr;
  const int64_t documents = full ? 10'000'000 : 100'000;
  write_corpus(path("corpus"), documents);
  BatchConfig config;
  config.data.blend.prefixes = {path("corpus")};
  config.data.blend.weights = {1.0};
  config.data.seq_length = 4096;
  config.data.samples = {tokens_ / 4096 * 2, 1000, 1000};  // two epochs and a little
  config.data.cache = {IndexCache::Place::kFolder, path("cache")};

  const Stopwatch indexing;
  {
    const MemoryLimit limit(int64_t{64} << 20);
    const BatchSource source(config);
    EXPECT_GE(source.size(Split::kTrain), *config.data.samples[0]);
  }
  const double index_seconds = indexing.seconds();
  const Stopwatch opening;
  {
    const MemoryLimit limit(int64_t{64} << 20);
    const BatchSource source(config);
    const double open_seconds = opening.seconds();
    EXPECT_LT(open_seconds, 1.0);
    const auto stream = source.stream(Split::kTrain, {.micro_batch_size = 4});
    EXPECT_EQ(stream->next()->tokens, std::vector<int32_t>(4 * 4096, 0));
    std::printf("%s tokens in %s documents: indexed in %.2f s, opened in %.3f s\n",
                human_count(static_cast<double>(tokens_)).c_str(), human_count(static_cast<double>(documents)).c_str(),
                index_seconds, open_seconds);
  }
  EXPECT_LT(index_seconds, 300.0);
}

}  // namespace
}  // namespace conclave
