// How routing falls out where nothing is routed: on `sim`, which has shapes and no choices. Sizes of exchanges hang on
// it, so memory and FLOPs of a rank do. docs/memory.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace conclave {

/// One routing: of which step, micro-batch and router.
struct RoutingMoment {
  int64_t iteration = 0;
  int64_t micro_batch = 0;  ///< of its data-parallel rank, within the step
  std::string router;       ///< "decoder.layers.0.mlp.router"
};

struct RoutingSizes {
  int64_t tokens = 0;      ///< T of each rank
  int64_t topk = 0;        ///< K
  int64_t experts = 0;     ///< E
  int64_t most_rows = -1;  ///< >= 0: no expert gets more from a rank (dropped beyond)
};

/// What the ranks of the world are said to have chosen at one moment.
class DeclaredRouting {
 public:
  virtual ~DeclaredRouting() = default;
  /// Rows that `rank` of the world sends to an expert, after dropping.
  virtual int64_t rows(int64_t rank, int64_t expert) const = 0;
  /// Those of its tokens [begin, end) of which at least one expert is there[e] != 0.
  virtual int64_t tokens(int64_t rank, int64_t begin, int64_t end, const std::vector<uint8_t>& there) const = 0;
};

class RoutingLoad {
 public:
  virtual ~RoutingLoad() = default;
  virtual std::shared_ptr<const DeclaredRouting> declare(const RoutingMoment& moment,
                                                         const RoutingSizes& sizes) const = 0;
};

/// Every expert gets as much as every other.
std::shared_ptr<const DeclaredRouting> balanced_routing(const RoutingSizes& sizes);

/// "balanced"; "zipf:ALPHA": expert e is chosen in proportion to (e + 1)^-ALPHA, on every rank and in every layer, by
/// no token twice; else the folder of a routing trace. Throws UserError for what is none of them.
std::unique_ptr<const RoutingLoad> make_routing_load(const std::string& text);

}  // namespace conclave
