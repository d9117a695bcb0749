#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <random>

#include "base/dtype.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/philox.h"
#include "base/text.h"

namespace conclave {
namespace {

TEST(DType, Bf16RoundsToNearestEven) {
  EXPECT_EQ(to_bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(to_bf16(1.00390625f).bits, 0x3f80);  // half way, to even
  EXPECT_EQ(to_bf16(1.01171875f).bits, 0x3f82);  // half way, to even
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(to_float(to_bf16(std::numeric_limits<float>::max()))));
}

TEST(DType, F16RoundTripsEveryValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const F16 half{static_cast<uint16_t>(bits)};
    const float value = to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(to_f16(value))));
    } else {
      EXPECT_EQ(to_f16(value).bits, half.bits) << bits;
    }
  }
  EXPECT_TRUE(std::isinf(to_float(to_f16(65520.0f))));
  EXPECT_EQ(to_float(to_f16(65519.0f)), 65504.0f);
}

TEST(Json, ParsesAndDumps) {
  const Json value = Json::parse(R"({"a":[1,2.5,true,null,"x\u00e9\n"],"b":{"c":-3}})", "test");
  EXPECT_EQ(value.at("a").at(1).as_double(), 2.5);
  EXPECT_EQ(value.at("b").at("c").as_int(), -3);
  EXPECT_EQ(Json::parse(value.dump(), "again").dump(), value.dump());
}

TEST(Json, FloatsReadBackToTheSameBits) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    EXPECT_EQ(std::bit_cast<uint64_t>(Json::parse(Json(value).dump(), "x").as_double()),
              std::bit_cast<uint64_t>(value));
  }
}

TEST(Json, BadInputIsNamedWithItsPlace) {
  try {
    Json::parse("{\n \"a\": 1,,\n}", "options.json");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("options.json: not valid JSON: line 2, column"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(Json::parse(std::string(100000, '['), "deep"), UserError);
  EXPECT_THROW(Json::parse("[1e999]", "inf"), UserError);
  EXPECT_THROW(Json(1).as_string(), UserError);
}

TEST(Philox, KnownAnswers) {  // vectors of Random123's kat_vectors
  EXPECT_EQ(philox4x32(0, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32(~0ull, ~0ull, ~0ull), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, NormalHasUnitMoments) {
  const RandomStream stream(1234, "embedding");
  double sum = 0, squares = 0;
  constexpr int kCount = 200000;
  for (int i = 0; i < kCount; ++i) {
    const double x = stream.normal(static_cast<uint64_t>(i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kCount, 0, 0.01);
  EXPECT_NEAR(squares / kCount, 1, 0.01);
}

TEST(Hash, KnownAnswers) {
  EXPECT_EQ(sha256_hex(std::string_view("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(std::string_view("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::string digits = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span<const char>(digits))), 0xe3069283u);
}

TEST(Text, NumbersWithSuffixes) {
  EXPECT_EQ(parse_count("10K"), 10000);
  EXPECT_EQ(parse_count("1.5GiB"), 1610612736);
  EXPECT_EQ(parse_count("2B"), 2000000000);
  EXPECT_FALSE(parse_count("x"));
  EXPECT_FALSE(parse_int("12a"));
  EXPECT_EQ(nearest_names("num-expert", {"num-experts", "seed", "num-layers"}).front(), "num-experts");
}

TEST(File, AtomicWriteAndErrors) {
  const std::string path = (std::filesystem::temp_directory_path() / "conclave_base_test").string();
  write_file_atomically(path, "hello");
  EXPECT_EQ(read_file(path), "hello");
  remove_all(path);
  try {
    read_file(path);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("No such file"), std::string::npos);
  }
}

TEST(Numbers, NarrowAndDivide) {
  EXPECT_EQ(narrow<int32_t>(int64_t{7}), 7);
  EXPECT_THROW(narrow<int32_t>(int64_t{1} << 40), InternalError);
  EXPECT_THROW(narrow<uint32_t>(-1), InternalError);
  EXPECT_THROW(div_exact(7, 2), InternalError);
}

}  // namespace
}  // namespace conclave
