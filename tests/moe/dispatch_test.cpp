// Every dispatcher over EP x ETP against one process, and against `reference` bit for bit where the order of sums is
// the same.
#include "moe/dispatch/dispatcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/world.h"
#include "kernels/op_case.h"
#include "moe/expert_job.h"

namespace conclave {
namespace {

using Values = std::vector<double>;

enum class Limit { kNone, kDrop, kPad };

struct Grid {
  int64_t expert_ranks, tensor_ranks, experts;
};

struct Setting {
  DispatcherKind kind;
  Grid grid;
  Limit limit = Limit::kNone;
  DType dtype = DType::kF32;
};

const char* name_of(DispatcherKind kind) {
  constexpr const char* kNames[] = {"reference", "allgather", "alltoall", "deepep", "hybridep"};
  return kNames[static_cast<size_t>(kind)];
}

std::string setting_name(const testing::TestParamInfo<Setting>& info) {
  const Setting& s = info.param;
  const char* limit = s.limit == Limit::kNone ? "dropless" : s.limit == Limit::kDrop ? "drop" : "pad";
  return fmt::format("{}_ep{}_etp{}_{}_{}", name_of(s.kind), s.grid.expert_ranks, s.grid.tensor_ranks, limit,
                     dtype_name(s.dtype));
}

/// Routings that leave experts and ranks without tokens, and one that does not.
std::vector<std::function<bool(int64_t, int64_t)>> patterns(const Grid& grid) {
  const int64_t held = grid.experts / grid.expert_ranks;
  return {
      [](int64_t, int64_t) { return true; },
      [](int64_t, int64_t expert) { return expert == 1; },                        // one expert gets everything
      [=](int64_t, int64_t expert) { return expert >= grid.experts - held; },     // only the last rank computes
      [](int64_t source, int64_t) { return source != 0; },                        // the first has no routed token
      [](int64_t source, int64_t expert) { return source == 0 && expert != 2; },  // only the first has any
      [](int64_t, int64_t) { return false; },                                     // nothing is routed at all
  };
}

ExpertJob job_of(const Setting& s, size_t pattern) {
  ExpertJob job;
  job.expert_ranks = s.grid.expert_ranks;
  job.tensor_ranks = s.grid.tensor_ranks;
  job.experts = s.grid.experts;
  job.dtype = s.dtype;
  job.choose(fmt::format("pattern {}", pattern), patterns(s.grid)[pattern]);
  if (s.limit != Limit::kNone) job.drop_beyond(5);
  if (s.limit == Limit::kPad) job.capacity = 5;
  return job;
}

DispatchConfig config_of(DispatcherKind kind) {
  DispatchConfig config;
  config.kind = kind;
  config.chunks = 3;
  return config;
}

/// Sums of about `terms` products of values about 1: each may round at every addition.
double bound_of(DType dtype, double size, double terms) {
  return (dtype == DType::kBF16 ? 0x1p-8 : 0x1p-23 * std::sqrt(terms)) * 4 * size;
}

double largest(const Values& values) {
  double out = 0;
  for (const double value : values) out = std::max(out, std::fabs(value));
  return out;
}

/// `got` is the part of `want` from `begin` on.
void expect_close(const char* what, const Values& got, const Values& want, size_t begin, double bound) {
  ASSERT_LE(begin + got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_TRUE(std::fabs(got[i] - want[begin + i]) <= bound)
        << what << ", element " << i << " of the part from " << begin << ": " << got[i] << " instead of "
        << want[begin + i];
}

class Dispatchers : public testing::TestWithParam<Setting> {};

TEST_P(Dispatchers, EqualOneProcess) {
  const Setting& s = GetParam();
  for (size_t pattern = 0; pattern < patterns(s.grid).size(); ++pattern) {
    SCOPED_TRACE(fmt::format("routing {}", pattern));
    const ExpertJob job = job_of(s, pattern);
    const ExpertJobResult whole = run_on_one_rank(job);
    const std::vector<ExpertJobResult> parts = run_on_threads(job, config_of(s.kind));
    const double out = bound_of(s.dtype, std::max(1.0, largest(whole.out)), 64);
    const double dx = bound_of(s.dtype, std::max(1.0, largest(whole.dx)), 64);
    const double dprobs = bound_of(s.dtype, std::max(1.0, largest(whole.dprobs)), 64);
    std::map<std::string, size_t> covered;
    for (size_t source = 0; source < parts.size(); ++source) {
      const ExpertJobResult& part = parts[source];
      expect_close("out", part.out, whole.out, source * part.out.size(), out);
      expect_close("dx", part.dx, whole.dx, source * part.dx.size(), dx);
      expect_close("dprobs", part.dprobs, whole.dprobs, source * part.dprobs.size(), dprobs);
      for (const auto& [name, values] : part.gradients) {
        const std::map<int64_t, double>& all = whole.gradients.at(name);
        double size = 1;
        for (const auto& [index, value] : all) size = std::max(size, std::fabs(value));
        for (const auto& [index, value] : values)
          ASSERT_TRUE(std::fabs(value - all.at(index)) <= bound_of(s.dtype, size, 128))
              << name << "[" << index << "]: " << value << " instead of " << all.at(index);
        covered[name] += values.size();
      }
    }
    // Together the ranks hold everything; the second bias once per rank that shares an expert.
    for (const auto& [name, all] : whole.gradients) {
      const auto copies = static_cast<size_t>(name == "experts.linear_fc2.bias" ? job.tensor_ranks : 1);
      EXPECT_EQ(covered[name], copies * all.size()) << name;
    }
  }
}

std::vector<Setting> settings() {
  const std::vector<Grid> grids = {{2, 1, 4}, {1, 2, 4}, {2, 2, 4}, {4, 1, 4}, {3, 1, 6}};
  std::vector<Setting> out;
  for (const DispatcherKind kind : {DispatcherKind::kReference, DispatcherKind::kAllGather, DispatcherKind::kAllToAll,
                                    DispatcherKind::kDeepEp, DispatcherKind::kHybridEp}) {
    for (const Grid& grid : grids)
      for (const Limit limit : {Limit::kNone, Limit::kDrop, Limit::kPad}) out.push_back({kind, grid, limit});
    out.push_back({kind, {2, 2, 4}, Limit::kNone, DType::kBF16});
    out.push_back({kind, {3, 1, 6}, Limit::kDrop, DType::kBF16});
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(All, Dispatchers, testing::ValuesIn(settings()), setting_name);

/// Rows stand in the same order at each expert with every dispatcher, so what an expert makes of them has the same
/// bits; a token's rows are added in order of choice by reference and alltoall, rank by rank by the others: the same
/// bits where there are at most two of them.
TEST(DispatchOrder, SameBitsAsReference) {
  for (const Grid& grid : std::vector<Grid>{{4, 1, 4}, {2, 1, 4}, {3, 1, 6}, {2, 2, 4}, {1, 2, 4}}) {
    for (const int64_t topk : {2, 3}) {
      ExpertJob job = job_of({DispatcherKind::kReference, grid}, 0);
      job.topk = topk;
      job.choose("order", [](int64_t, int64_t) { return true; });
      const std::vector<ExpertJobResult> want = run_on_threads(job, config_of(DispatcherKind::kReference));
      for (const DispatcherKind kind : {DispatcherKind::kAllGather, DispatcherKind::kAllToAll, DispatcherKind::kDeepEp,
                                        DispatcherKind::kHybridEp}) {
        SCOPED_TRACE(fmt::format("{} ep{} etp{} k{}", name_of(kind), grid.expert_ranks, grid.tensor_ranks, topk));
        const std::vector<ExpertJobResult> got = run_on_threads(job, config_of(kind));
        const bool same_sums = kind == DispatcherKind::kAllToAll || (topk <= 2 && grid.tensor_ranks == 1);
        for (size_t source = 0; source < got.size(); ++source) {
          EXPECT_EQ(got[source].offsets, want[source].offsets);
          EXPECT_EQ(got[source].gradients, want[source].gradients);
          if (!same_sums) continue;
          EXPECT_EQ(got[source].out, want[source].out);
          EXPECT_EQ(got[source].dx, want[source].dx);
          EXPECT_EQ(got[source].dprobs, want[source].dprobs);
        }
      }
    }
  }
}

TEST(DispatchPayload, RowsOfAnyWidthAndDType) {
  for (const Limit limit : {Limit::kNone, Limit::kPad}) {
    const ExpertJob job = job_of({DispatcherKind::kReference, {2, 2, 4}, limit}, 0);
    for (const auto& [dtype, width] :
         {std::pair{DType::kU8, 5}, {DType::kF32, 1}, {DType::kI64, 3}, {DType::kBF16, 7}}) {
      const auto want = payload_at_experts(job, config_of(DispatcherKind::kReference), dtype, width);
      EXPECT_GT(largest(want[0]), 0);
      for (const DispatcherKind kind :
           {DispatcherKind::kAllGather, DispatcherKind::kAllToAll, DispatcherKind::kDeepEp, DispatcherKind::kHybridEp})
        EXPECT_EQ(payload_at_experts(job, config_of(kind), dtype, width), want)
            << name_of(kind) << " " << dtype_name(dtype);
    }
  }
}

TEST(FlexNodes, AnySizeOfNodes) {
  for (const Grid& grid : std::vector<Grid>{{4, 1, 4}, {2, 2, 4}, {5, 1, 5}}) {
    ExpertJob job = job_of({DispatcherKind::kReference, grid}, 0);
    const std::vector<ExpertJobResult> want = run_on_threads(job, config_of(DispatcherKind::kReference));
    for (const int64_t ranks_per_node : {0, 1, 3}) {
      job.ranks_per_node = ranks_per_node;
      for (const DispatcherKind kind : {DispatcherKind::kDeepEp, DispatcherKind::kHybridEp}) {
        SCOPED_TRACE(fmt::format("{} ep{} etp{} nodes of {}", name_of(kind), grid.expert_ranks, grid.tensor_ranks,
                                 ranks_per_node));
        const std::vector<ExpertJobResult> got = run_on_threads(job, config_of(kind));
        for (size_t source = 0; source < got.size(); ++source) {
          EXPECT_EQ(got[source].gradients, want[source].gradients);
          expect_close("out", got[source].out, want[source].out, 0, 1e-5 * largest(want[source].out));
          expect_close("dx", got[source].dx, want[source].dx, 0, 1e-5 * largest(want[source].dx));
        }
      }
    }
  }
}

}  // namespace
}  // namespace conclave
