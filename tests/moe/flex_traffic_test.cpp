// What crosses between nodes: a token once per node under flex, once per expert under alltoall.
#include <gtest/gtest.h>

#include <set>

#include "comm/world.h"
#include "moe/expert_job.h"

namespace conclave {
namespace {

constexpr int64_t kExperts = 64, kTopk = 8, kRanks = 8, kRanksPerNode = 4;

/// Bytes that left a rank for another node.
struct CrossNodeBytes {
  int64_t rows = 0, metadata = 0;
};

ExpertJob fine_grained_job() {
  ExpertJob job;
  job.expert_ranks = kRanks;
  job.ranks_per_node = kRanksPerNode;
  job.experts = kExperts;
  job.topk = kTopk;
  job.hidden = 32;
  job.width = 4;
  job.tokens = 64;
  job.bias = false;
  job.choose("fine-grained", [](int64_t, int64_t) { return true; });
  return job;
}

CrossNodeBytes measure(const ExpertJob& job, DispatcherKind kind) {
  std::vector<CrossNodeBytes> by_rank(kRanks);
  run_on_threads(job, {.kind = kind}, [&](ProcessGroups& groups) {
    CrossNodeBytes& bytes = by_rank[static_cast<size_t>(groups.rank())];
    for (const auto& group : groups.world().groups()) {
      for (const auto& [call, traffic] : group->traffic().by_call()) {
        // What all gather goes to every other rank alike.
        if (call.first == CollectiveKind::kAllGather)
          bytes.metadata += traffic.bytes_sent * kRanksPerNode / (kRanks - 1);
        if (call.first != CollectiveKind::kAllToAll) continue;
        for (size_t member = 0; member < traffic.sent_to.size(); ++member) {
          if (group->world_ranks()[member] / kRanksPerNode == groups.rank() / kRanksPerNode) continue;
          (call.second == "rows" ? bytes.rows : bytes.metadata) += traffic.sent_to[member];
        }
      }
    }
  });
  CrossNodeBytes sum;
  for (const CrossNodeBytes& bytes : by_rank) {
    sum.rows += bytes.rows;
    sum.metadata += bytes.metadata;
  }
  return sum;
}

TEST(FlexTraffic, TokensCrossToANodeOnce) {
  const ExpertJob job = fine_grained_job();
  // Outside the sender's own node.
  double experts_hit = 0, nodes_hit = 0;
  for (size_t t = 0; t < job.choices.size() / kTopk; ++t) {
    const int64_t own = static_cast<int64_t>(t) / job.tokens / kRanksPerNode;
    std::set<int64_t> nodes;
    for (size_t k = 0; k < kTopk; ++k) {
      const int64_t node = static_cast<int64_t>(job.choices[t * kTopk + k]) / (kExperts / kRanks) / kRanksPerNode;
      if (node == own) continue;
      experts_hit += 1;
      nodes.insert(node);
    }
    nodes_hit += static_cast<double>(nodes.size());
  }
  const CrossNodeBytes all_to_all = measure(job, DispatcherKind::kAllToAll);
  std::printf("bytes between nodes, forward and backward, E=%ld K=%ld, 2 nodes of %ld ranks, %ld tokens per rank\n",
              kExperts, kTopk, kRanksPerNode, job.tokens);
  std::printf("  %-9s rows %9ld  metadata %9ld\n", "alltoall", all_to_all.rows, all_to_all.metadata);
  // Rows cross four times: dispatch and combination, forward and backward.
  EXPECT_EQ(static_cast<double>(all_to_all.rows), 4 * experts_hit * static_cast<double>(job.hidden) * 4);
  for (const DispatcherKind kind : {DispatcherKind::kDeepEp, DispatcherKind::kHybridEp}) {
    const CrossNodeBytes flex = measure(job, kind);
    std::printf("  %-9s rows %9ld  metadata %9ld  (bound %.0f)\n",
                kind == DispatcherKind::kDeepEp ? "deepep" : "hybridep", flex.rows, flex.metadata,
                static_cast<double>(all_to_all.rows) * nodes_hit / experts_hit);
    EXPECT_GT(flex.rows, 0);
    EXPECT_LE(static_cast<double>(flex.rows), static_cast<double>(all_to_all.rows) * nodes_hit / experts_hit);
  }
}

}  // namespace
}  // namespace conclave
