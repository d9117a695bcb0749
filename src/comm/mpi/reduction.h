// How a reduction is cut: who sums what, in which chunks, where pieces of others wait.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "comm/call.h"

namespace conclave {

class Reduction {
 public:
  static constexpr int64_t kAhead = 2;  ///< chunks whose pieces are under way at once

  Reduction(const CollectiveCall& call, int rank, int size);

  /// Whether a call is so short that everybody had better sum all of it.
  static bool is_short(const CollectiveCall& call, int size);

  const CollectiveCall& call() const { return call_; }
  int64_t chunk_count() const { return chunks_; }  ///< of the longest piece
  /// First element and length of a chunk of the piece that `member` sums; length 0 beyond its end.
  std::pair<int64_t, int64_t> range(int member, int64_t chunk) const;
  /// Where the chunk of `member` for my piece arrives.
  std::byte* staging(int64_t chunk, int member);
  /// Sums a chunk of my piece into the output.
  void sum(int64_t chunk);

 private:
  const CollectiveCall& call_;
  int rank_, size_;
  int64_t width_, chunk_elements_, chunks_ = 0;
  std::vector<int64_t> begins_;  ///< of members' pieces, and the end
  std::unique_ptr<std::byte[]> staging_;
};

}  // namespace conclave
