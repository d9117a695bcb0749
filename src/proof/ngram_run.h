// The n-gram bar on the data of a run: counted on its training split, measured on its other splits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/options.h"

namespace conclave::proof {

struct NgramRequest {
  DataOptions data;        ///< data_path with split, or the per-split paths
  int64_t vocab_size = 0;  ///< V
  int order = 3;
};

struct NgramSplit {
  std::string split;  ///< train, valid, test
  int64_t tokens = 0;
  double loss = 0;  ///< nats a token
};

struct NgramReport {
  int64_t counted_tokens = 0;
  std::vector<NgramSplit> splits;  ///< those that have data
};

/// Weights of a blend are left aside: every token of a split counts once. Throws UserError.
NgramReport measure_ngram(const NgramRequest& request);

}  // namespace conclave::proof
