#include "data/indexed_dataset.h"

#include <unistd.h>

#include <filesystem>
#include <limits>

#include "base/error.h"
#include "scratch.h"

namespace conclave {
namespace {

template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

// The parts of an .idx, so that a test can break one of them.
struct IdxParts {
  std::string magic = std::string("MMIDIDX\0\0", 9);
  uint64_t version = 1;
  uint8_t code = 8;
  uint64_t sequences = 3;
  uint64_t boundaries = 3;
  std::vector<int32_t> lengths = {2, 0, 3};
  std::vector<int64_t> pointers = {0, 4, 4};
  std::vector<int64_t> documents = {0, 2, 3};
  std::string tail;

  std::string bytes() const {
    std::string out = magic + raw(version) + raw(code) + raw(sequences) + raw(boundaries);
    for (const int32_t length : lengths) out += raw(length);
    for (const int64_t pointer : pointers) out += raw(pointer);
    for (const int64_t document : documents) out += raw(document);
    return out + tail;
  }
};

class IndexedDatasetTest : public ScratchTest {
 protected:
  void write(const IdxParts& parts, const std::string& bin = std::string(10, '\1')) {
    write_quickly(path("d.idx"), parts.bytes());
    write_quickly(path("d.bin"), bin);
  }
  std::string refusal() {
    return error_of([&] { IndexedDataset data(path("d")); });
  }
};

TEST_F(IndexedDatasetTest, TheUnbrokenFormIsRead) {
  write(IdxParts());
  const IndexedDataset data(path("d"));
  EXPECT_EQ(data.sequence_count(), 3);
  EXPECT_EQ(data.read_sequence(2), (std::vector<int32_t>{0x101, 0x101, 0x101}));
  EXPECT_TRUE(data.read_sequence(1).empty());
  EXPECT_EQ(data.boundary(1), 2);
  EXPECT_FALSE(data.multimodal());
  EXPECT_EQ(data.token_count(), 5);
}

TEST_F(IndexedDatasetTest, EveryBrokenFormIsNamed) {
  using Breaker = void (*)(IdxParts&);
  const std::pair<const char*, Breaker> kForms[] = {
      {"does not begin with MMIDIDX", [](IdxParts& p) { p.magic[0] = 'X'; }},
      {"does not begin with MMIDIDX", [](IdxParts& p) { p.magic[8] = 'X'; }},
      {"format version 2", [](IdxParts& p) { p.version = 2; }},
      {"format version 72057594037927936", [](IdxParts& p) { p.version = uint64_t{1} << 56; }},
      {"element type code 0", [](IdxParts& p) { p.code = 0; }},
      {"element type code 9", [](IdxParts& p) { p.code = 9; }},
      {"f32 numbers", [](IdxParts& p) { p.code = 7; }},
      {"f64 numbers", [](IdxParts& p) { p.code = 6; }},
      {"cannot hold the 4 sequences", [](IdxParts& p) { p.sequences = 4, p.boundaries = 100; }},
      {"cannot hold the 18446744073709551615 sequences", [](IdxParts& p) { p.sequences = ~uint64_t{0}; }},
      {"cannot hold the 1537228672809129302 sequences",  // 12 * N wraps round to 8
       [](IdxParts& p) { p.sequences = 1537228672809129302u, p.boundaries = 0; }},
      {"18446744073709551615 document boundaries", [](IdxParts& p) { p.boundaries = ~uint64_t{0}; }},
      {"2305843009213693952 document boundaries",  // 8 * D wraps round to 0
       [](IdxParts& p) { p.boundaries = uint64_t{1} << 61; }},
      {"bytes follow its 3 sequences", [](IdxParts& p) { p.tail = "xx"; }},
      {"bytes follow its 3 sequences", [](IdxParts& p) { p.tail = "xxxx"; }},
      {"sequence 1 has -1 tokens", [](IdxParts& p) { p.lengths[1] = -1; }},
      {"sequence 2 has 4 tokens from byte 4", [](IdxParts& p) { p.lengths[2] = 4; }},
      {"sequence 0 has 2147483647 tokens", [](IdxParts& p) { p.lengths[0] = std::numeric_limits<int32_t>::max(); }},
      {"from byte -2", [](IdxParts& p) { p.pointers[2] = -2; }},
      {"from byte 9223372036854775807", [](IdxParts& p) { p.pointers[2] = std::numeric_limits<int64_t>::max(); }},
      {"from byte -9223372036854775808", [](IdxParts& p) { p.pointers[0] = std::numeric_limits<int64_t>::min(); }},
      {"from byte 11", [](IdxParts& p) { p.pointers[1] = 11; }},
      {"begins at sequence 1, not 0", [](IdxParts& p) { p.documents[0] = 1; }},
      {"document boundary 2 is sequence 1, after 2", [](IdxParts& p) { p.documents[2] = 1; }},
      {"document boundary 2 is sequence 4", [](IdxParts& p) { p.documents[2] = 4; }},
      {"document boundary 1 is sequence -5", [](IdxParts& p) { p.documents[1] = -5; }},
  };
  for (const auto& [text, breaker] : kForms) {
    IdxParts parts;
    breaker(parts);
    write(parts);
    const std::string refused = refusal();
    EXPECT_NE(refused.find(text), std::string::npos) << text << "\n  got: " << refused;
    EXPECT_NE(refused.find(path("d.idx")), std::string::npos) << refused;
  }
}

TEST_F(IndexedDatasetTest, EveryTruncationIsRefused) {
  const std::string whole = IdxParts().bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    write_quickly(path("d.idx"), whole.substr(0, size));
    write_quickly(path("d.bin"), std::string(10, '\1'));
    EXPECT_NE(refusal(), "") << size;
  }
}

TEST_F(IndexedDatasetTest, BinThatIsCutShortOddOrMissingIsRefused) {
  write(IdxParts(), std::string(8, '\1'));
  EXPECT_NE(refusal().find("the file has 8 bytes"), std::string::npos);
  write(IdxParts(), std::string(11, '\1'));
  EXPECT_NE(refusal().find("no multiple of the 2"), std::string::npos);
  remove_all(path("d.bin"));
  EXPECT_NE(refusal().find("d.bin"), std::string::npos);
  make_directories(path("d.bin"));
  EXPECT_NE(error_of([&] { IndexedDataset(path("d")).read_sequence(0); }), "");
}

TEST_F(IndexedDatasetTest, DamageIsFoundAtTheReadWhenOnlyTheHeaderWasChecked) {
  IdxParts parts;
  parts.pointers[2] = 6;
  parts.lengths[1] = -3;
  write(parts);
  const IndexedDataset data(path("d"), IndexCheck::kHeader);
  EXPECT_EQ(data.read_sequence(0).size(), 2u);
  EXPECT_NE(error_of([&] { data.read_sequence(1); }).find("-3 tokens"), std::string::npos);
  EXPECT_NE(error_of([&] { data.read_sequence(2); }).find("from byte 6"), std::string::npos);
  EXPECT_NE(error_of([&] { data.check_whole(); }), "");
}

TEST_F(IndexedDatasetTest, PartsOutsideASequenceAreRefused) {
  write(IdxParts());
  const IndexedDataset data(path("d"));
  std::vector<int32_t> two(2);
  EXPECT_NO_THROW(data.read(2, 1, two));
  EXPECT_THROW(data.read(2, 2, two), UserError);
  EXPECT_THROW(data.read(2, -1, two), UserError);
  EXPECT_THROW(data.read(2, std::numeric_limits<int64_t>::max(), two), UserError);
}

TEST_F(IndexedDatasetTest, FilesThatShrinkUnderARunningJobGiveErrors) {
  write(IdxParts());
  const IndexedDataset data(path("d"));
  ASSERT_EQ(::truncate(path("d.bin").c_str(), 6), 0);
  EXPECT_EQ(data.read_sequence(0).size(), 2u);
  EXPECT_NE(error_of([&] { data.read_sequence(2); }).find("the file shrank"), std::string::npos);
  ASSERT_EQ(::truncate(path("d.idx").c_str(), 40), 0);
  std::vector<int32_t> out(1);
  EXPECT_NE(error_of([&] { data.read(0, 0, out); }).find("shrank from"), std::string::npos);
}

TEST_F(IndexedDatasetTest, EveryIntegerTypeIsReadAndWritten) {
  for (const DType dtype : {DType::kU8, DType::kI8, DType::kI16, DType::kU16, DType::kI32, DType::kI64}) {
    IndexedDatasetBuilder builder(path("t"), dtype);
    builder.add_sequence(std::vector<int32_t>{1, 100, 3});
    builder.end_document();
    builder.finalize();
    const IndexedDataset data(path("t"));
    EXPECT_EQ(data.dtype(), dtype);
    EXPECT_EQ(data.read_sequence(0), (std::vector<int32_t>{1, 100, 3}));
    EXPECT_EQ(data.bin_bytes(), 3 * dtype_size(dtype));
  }
  IdxParts wide;
  wide.code = 5;
  wide.sequences = wide.boundaries = 1;
  wide.lengths = {1}, wide.pointers = {0}, wide.documents = {0};
  write(wide, raw(int64_t{1} << 40));
  const IndexedDataset data(path("d"));
  EXPECT_NE(error_of([&] { data.read_sequence(0); }).find("1099511627776"), std::string::npos);
}

TEST_F(IndexedDatasetTest, NothingStaysOfAnUnfinishedOrRefusedFile) {
  {
    IndexedDatasetBuilder builder(path("u"), DType::kU16);
    builder.add_sequence(std::vector<int32_t>{1, 2});
    EXPECT_NE(error_of([&] { builder.add_sequence(std::vector<int32_t>{70000}); }).find("70000"), std::string::npos);
    EXPECT_NE(error_of([&] { builder.add_sequence(std::vector<int32_t>{-1}); }).find("-1"), std::string::npos);
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST(TokenDtype, SwitchesAtTheLimit) {
  EXPECT_EQ(token_dtype(65499), DType::kU16);
  EXPECT_EQ(token_dtype(65500), DType::kI32);
}

}  // namespace
}  // namespace conclave
