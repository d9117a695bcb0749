// One forward and backward of a layer's experts, by any dispatcher over any EP x ETP, on made-up tokens: what the tests
// of dispatchers compare.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "moe/dispatch/dispatcher.h"
#include "moe/experts.h"

namespace conclave {

/// Everything that is given, for the tokens of all ranks, rank after rank in order of source (ETP position first, then
/// EP position).
struct ExpertJob {
  int64_t expert_ranks = 1, tensor_ranks = 1;  ///< EP, ETP
  int64_t ranks_per_node = 2;
  int64_t experts = 4, hidden = 24, width = 12, topk = 2, tokens = 13;  ///< E, H, F, K; T of each rank
  DType dtype = DType::kF32;
  bool bias = true;
  int64_t capacity = 0;
  std::vector<double> choices;  ///< [R*T,K], -1 = dropped

  int64_t ranks() const { return expert_ranks * tensor_ranks; }
  /// Random choices of different experts; `allowed` picks from the experts that a rank's tokens may choose.
  void choose(const std::string& seed, const std::function<bool(int64_t source, int64_t expert)>& allowed);
  /// Drops each expert's choices beyond `limit` per rank.
  void drop_beyond(int64_t limit);
};

/// What a rank has in the end, as numbers.
struct ExpertJobResult {
  std::vector<double> out, dx, dprobs;  ///< [T,H], [T,H], [T,K]
  std::vector<double> offsets;
  /// Gradients of the experts' parameters: by name, by index in the whole tensor.
  std::map<std::string, std::map<int64_t, double>> gradients;
};

/// One process with all experts and the tokens of all ranks.
ExpertJobResult run_on_one_rank(const ExpertJob& job);
/// This rank's part.
ExpertJobResult run_on_rank(const ExpertJob& job, const DispatchConfig& config, Device& device, ProcessGroups& groups);

/// Whole numbers from 0 to 200 as a payload of this dtype and width, as they come to each rank's experts; by source.
std::vector<std::vector<double>> payload_at_experts(const ExpertJob& job, const DispatchConfig& config, DType dtype,
                                                    int64_t width);

/// Process groups of EP x ETP ranks, as threads; results by source.
std::vector<ExpertJobResult> run_on_threads(const ExpertJob& job, const DispatchConfig& config,
                                            const std::function<void(ProcessGroups&)>& after = {});

}  // namespace conclave
