// How far each data set of the training blend has been used, so that a resumed run goes on in each of them even if the
// blend was changed in between.
//
// A run is a row of segments; a new one begins wherever the blend changes. Within a segment, sample i of the run is
// sample i - segment_start of the blend, which takes each data set from its `start` on. Each data set has an order of
// samples made of pieces (see GptDataset): the sizes that were asked for are kept, because they decide the shuffles;
// when more is needed than the pieces hold, one more is appended and nothing before it moves.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace conclave {

struct SourcePosition {
  std::string path;     ///< as given; for people
  std::string content;  ///< TokenSource::content_id: recognises the data wherever they lie
  std::vector<std::optional<int64_t>> samples_requested;  ///< size asked of each piece of the order; none: one epoch
  int64_t start = 0;                                      ///< samples used before this segment
  int64_t consumed = 0;                                   ///< samples used so far

  Json to_json() const;
  static SourcePosition from_json(const Json& json);
};

struct DataPosition {
  int64_t consumed_samples = 0;         ///< of the run
  int64_t segment_start = 0;            ///< consumed_samples when this blend began
  std::string blend;                    ///< what a changed blend is recognised by
  std::string order;                    ///< sequence length, seed, split: if these change, every data set starts anew
  std::vector<SourcePosition> sources;  ///< of this blend, in its order
  std::vector<SourcePosition> retired;  ///< of earlier blends only: they go on if they come back

  Json to_json() const;
  /// Throws UserError naming what is missing or impossible.
  static DataPosition from_json(const Json& json);
};

}  // namespace conclave
