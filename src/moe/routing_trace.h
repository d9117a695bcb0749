// The choices of a run's routers as files: written step by step, made again by another run, or taken as what routing is
// on `sim`. DIR/iter_0000001/rank_00003.safetensors holds what rank 3 chose in step 1 (docs/file-formats.md):
//   "{micro-batch}.{router}.experts" [T,K] i16, before dropping; where a capacity drops, "….kept" [T,K] i16, -1 =
//   dropped.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "moe/routing_load.h"
#include "moe/routing_replay.h"

namespace conclave {

/// Choices [T,K] of one rank at one moment.
struct TracedChoices {
  int64_t tokens = 0, topk = 0;
  std::vector<int16_t> experts;  ///< [T,K]; -1 = none
};

/// Reads one step of one rank after the other; keeps the files of the step that it was asked for last.
class RoutingTraceReader {
 public:
  /// Throws UserError if `directory` holds no trace.
  explicit RoutingTraceReader(std::string directory);

  /// Before dropping: what a replay takes.
  TracedChoices chosen(const RoutingMoment& moment, int64_t rank);
  /// After dropping.
  TracedChoices kept(const RoutingMoment& moment, int64_t rank);

 private:
  std::string directory_;
  int64_t iteration_ = -1;
  std::map<int64_t, std::unique_ptr<SafetensorsFile>> files_;  ///< by rank

  const SafetensorsFile& file(int64_t iteration, int64_t rank);
  TracedChoices read(const SafetensorsFile& file, const SafetensorsEntry& entry) const;
};

/// Writes, replays, or both. A step that is thrown away and run again is written once, as it came out.
class RoutingTrace final : public RoutingReplay {
 public:
  struct Settings {
    std::string write, replay;  ///< empty: not
    int64_t most_steps = 0;     ///< to write; 0: all
    int64_t experts = 0;        ///< E
  };
  RoutingTrace(const Settings& settings, int64_t rank, int64_t world_size);

  Tensor forced(const Context& context, const std::string& router) override;
  void taken(const Context& context, const std::string& router, const Tensor& experts) override;
  void kept(const Context& context, const std::string& router, const Tensor& experts) override;

  void begin_step() { step_.clear(); }
  /// Writes the step's file.
  void end_step(int64_t iteration);

 private:
  struct Item {
    std::string name;
    std::vector<int64_t> shape;
    std::vector<int16_t> values;
  };
  Settings settings_;
  int64_t rank_, world_size_, written_ = 0;
  std::unique_ptr<RoutingTraceReader> source_;
  std::vector<Item> step_;

  bool writes(const Context& context) const;
  void add(const Context& context, const std::string& router, const char* what, const Tensor& experts);
};

/// Declares what a trace holds. Throws UserError if `directory` holds no trace.
std::unique_ptr<const RoutingLoad> make_traced_load(const std::string& directory);

}  // namespace conclave
