// Files written block by block on a thread: their bytes at every size around a block, and that a check sees other
// bytes.
#include "base/streamed_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

class StreamedFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / ("conclave_streamed_" + std::to_string(::getpid()))).string();
    fs::create_directories(folder_);
    path_ = folder_ + "/file";
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_, path_;
};

std::string letters(size_t count) {
  std::string text(count, ' ');
  uint32_t state = 1;
  for (char& c : text) c = static_cast<char>('a' + ((state = state * 1664525u + 1013904223u) >> 24) % 26);
  return text;
}

constexpr size_t kBlock = size_t{4} << 20;

TEST_F(StreamedFileTest, HoldsWhatWasGivenInPiecesOfAnySize) {
  const std::string all = letters(5 * kBlock + 4097);
  for (const size_t size :
       {size_t{0}, size_t{1}, kBlock - 1, kBlock, kBlock + 1, kBlock + 4096, 5 * kBlock, 5 * kBlock + 4097}) {
    for (const size_t step : {size_t{777'777}, kBlock, size_t{9'000'000}}) {
      StreamedFile file(path_, StreamedFile::Check::kReadBack);
      const std::string_view text(all.data(), size);
      for (size_t at = 0; at < size; at += step) file.write(text.substr(at, step));
      file.finish();
      ASSERT_TRUE(read_file(path_) == text) << size << " bytes in steps of " << step;
    }
  }
}

TEST_F(StreamedFileTest, ReadingBackSeesOtherBytes) {
  for (const size_t size : {size_t{100}, 3 * kBlock, 3 * kBlock + 5}) {
    const std::string text = letters(size);
    for (const size_t at : {size_t{0}, size / 2, size - 1}) {
      StreamedFile file(path_, StreamedFile::Check::kReadBack);
      file.write(text);
      // Another file in its place is what a failing disk looks like from here.
      fs::remove(path_);
      std::string other = text;
      other[at] = '?';
      write_file_atomically(path_, other);
      EXPECT_THROW(file.finish(), UserError) << size << " bytes, another at " << at;
    }
  }
}

TEST_F(StreamedFileTest, GivenUpItEndsQuietly) {
  const std::string text = letters(2 * kBlock + 1);
  { StreamedFile(path_).write(text); }
  EXPECT_LE(file_size(path_), static_cast<int64_t>(text.size()));
}

TEST_F(StreamedFileTest, AFullDiskIsTold) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  const std::string text = letters(kBlock);
  const auto write_much = [&] {
    StreamedFile file("/dev/full");
    for (int i = 0; i < 10; ++i) file.write(text);
    file.finish();
  };
  EXPECT_THROW(write_much(), UserError);
  const auto write_little = [] {
    StreamedFile file("/dev/full");
    file.write("x");
    file.finish();
  };
  EXPECT_THROW(write_little(), UserError);
}

}  // namespace
}  // namespace conclave
