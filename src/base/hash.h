// Hashes and checksums.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace conclave {

/// XXH3, 64 bits, seeded.
uint64_t hash64(std::string_view bytes, uint64_t seed = 0);
uint64_t hash64(std::span<const std::byte> bytes, uint64_t seed = 0);
/// 16 lower-case hexadecimal digits.
std::string hex64(uint64_t value);

/// XXH3 of a stream of pieces.
class Hasher64 {
 public:
  Hasher64();
  ~Hasher64();
  Hasher64(const Hasher64&) = delete;
  Hasher64& operator=(const Hasher64&) = delete;
  void update(std::span<const std::byte> bytes);
  uint64_t digest() const;

 private:
  void* state_;
};

/// SHA-256 (FIPS 180-4) as 64 lower-case hexadecimal digits.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view bytes);

/// CRC-32C (Castagnoli), as used by record files.
uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace conclave
