// The text of --step-batch-size-schedule.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace conclave {

/// From `first_sample` on the batch is `batch`.
struct BatchChange {
  int64_t first_sample = 0;
  int64_t batch = 0;

  bool operator==(const BatchChange&) const = default;
};

/// "THRESHOLD:SIZE" pieces separated by blanks or commas, numbers with K, M, B or T. Thresholds are tokens when
/// `seq_length` is above 0 (divided by it, rounded down), else samples. Sorted; the first must be 0, the others
/// strictly above each other, sizes above 0. Throws UserError.
std::vector<BatchChange> parse_batch_changes(std::string_view text, int64_t seq_length);

}  // namespace conclave
