// Which layers each pipeline stage holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/options.h"

namespace conclave {

/// What decides the placement. Without a layout: evenly, or with fixed counts on the first and last rank, or with the
/// embedding and the loss counted as layers.
struct PlacementArgs {
  int64_t num_layers = 0;
  int64_t mtp_num_layers = 0;
  int64_t pipeline_size = 1;
  std::optional<int64_t> virtual_size;  ///< chunks of a rank; with a layout it must agree
  std::optional<int64_t> first_layers;  ///< decoder layers of the first rank
  std::optional<int64_t> last_layers;   ///< decoder layers of the last rank
  bool count_embedding = false;
  bool count_loss = false;
  std::optional<std::string> layout;  ///< config/pipeline_layout.h
};

/// One chunk of the model: `layers` decoder layers from `first_layer` on, and what stands around them.
struct StagePlacement {
  int64_t pipeline_rank = 0;
  int64_t chunk = 0;
  int64_t first_layer = 0;
  int64_t layers = 0;
  std::vector<int64_t> mtp_layers;  ///< 0-based
  bool embedding = false;
  bool loss = false;
};

struct LayerPlacement {
  int64_t virtual_size = 1;
  std::vector<StagePlacement> stages;  ///< chunk outer, pipeline rank inner
  bool mtp_before_last_rank = false;   ///< prediction layers stand on a rank that is not the last

  const StagePlacement& at(int64_t pipeline_rank, int64_t chunk) const;
};

/// Throws UserError where the layers do not fit.
LayerPlacement place_layers(const PlacementArgs& args);

/// From resolved options.
PlacementArgs placement_args(const Options& options);

}  // namespace conclave
