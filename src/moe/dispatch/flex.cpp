#include <algorithm>
#include <numeric>

#include "kernels/dispatch_index.h"
#include "kernels/elementwise.h"
#include "kernels/permute.h"
#include "kernels/router_capacity.h"
#include "moe/dispatch/exchange.h"
#include "moe/dispatch/index.h"
#include "moe/dispatch/node_map.h"
#include "moe/dispatch/plans.h"

namespace conclave {
namespace {

/// A run of this rank's tokens on its way: to a gateway in each node that it is for (across), from there to the ranks
/// that hold its experts (inside). Every member cuts its tokens alike.
struct Chunk {
  int64_t begin = 0, end = 0;  ///< own tokens
  Permutation to_nodes;        ///< of own tokens, by node
  RowExchange across;
  Permutation to_ranks;  ///< of the tokens that came here to be passed on, by rank of the node
  RowExchange inside;
};

class FlexPlan final : public DispatchPlan {
 public:
  FlexPlan(const Context& context, const DispatchConfig& config, const ExpertGroup& group, const Routing& routing)
      : config_(config), group_(group), nodes_(group), probs_dtype_(routing.probs.dtype()) {
    cut(routing.experts.size(0));
    count(context, routing);
    set_exchanges();
    Arrivals in = send_choices(context, routing);
    order_by_source(context, &in);
    place_rows(context, in, routing.capacity);
  }

  Tensor to_experts(const Context& context, const Tensor& x, const Trip& trip) const override;
  Tensor to_tokens(const Context& context, const Tensor& rows, const Trip& trip) const override {
    return go_back(context, sum_rows(context, rows, slot_row_, "combine.sums"), trip);
  }
  Tensor choices_to_tokens(const Context& context, const Tensor& values) const override {
    const Tensor own = values_of_choices(context, values, slot_row_, DType::kF32);
    return as_dtype(context, go_back(context, own, {"combine.weights", {}}), probs_dtype_);
  }

 private:
  /// Choices and probabilities of the tokens that come here, as they come: chunk by chunk.
  struct Arrivals {
    Tensor choices, probs;             ///< [A,K] i32, f32
    std::vector<int64_t> source_rows;  ///< after order_by_source: tokens of each source
  };

  DispatchConfig config_;
  ExpertGroup group_;
  NodeMap nodes_;
  DType probs_dtype_;
  std::vector<Chunk> chunks_;
  std::vector<int64_t> counts_;  ///< [R, chunks * (N+R) + E]: tokens for each node and rank, rows for each expert
  ChunkOrder order_;             ///< of arrived tokens: from the order of arrival to that of sources
  Tensor row_token_;             ///< [P] i32 arrived token of each row
  Tensor slot_row_;              ///< [A,K] i32 row of each choice of an arrived token

  int64_t destinations() const { return nodes_.nodes() + nodes_.members(); }
  int64_t counts_of_member() const { return static_cast<int64_t>(chunks_.size()) * destinations() + group_.experts(); }
  int64_t count_at(int64_t member, int64_t i) const {
    return counts_[static_cast<size_t>(member * counts_of_member() + i)];
  }
  int64_t tokens_for_node(int64_t member, size_t chunk, int64_t node) const {
    return count_at(member, static_cast<int64_t>(chunk) * destinations() + node);
  }
  int64_t tokens_for_rank(int64_t member, size_t chunk, int64_t rank) const {
    return count_at(member, static_cast<int64_t>(chunk) * destinations() + nodes_.nodes() + rank);
  }
  int64_t rows_for_expert(int64_t member, int64_t e) const {
    return count_at(member, static_cast<int64_t>(chunks_.size()) * destinations() + e);
  }

  void cut(int64_t tokens) {
    const int64_t chunks = config_.kind == DispatcherKind::kHybridEp ? std::max<int64_t>(config_.chunks, 1) : 1;
    chunks_.resize(static_cast<size_t>(chunks));
    for (int64_t c = 0; c < chunks; ++c) {
      chunks_[static_cast<size_t>(c)].begin = tokens * c / chunks;
      chunks_[static_cast<size_t>(c)].end = tokens * (c + 1) / chunks;
    }
  }

  void count(const Context& context, const Routing& routing);
  void set_exchanges();
  Arrivals send_choices(const Context& context, const Routing& routing);
  void order_by_source(const Context& context, Arrivals* in);
  void place_rows(const Context& context, const Arrivals& in, int64_t capacity);
  int64_t arrivals() const {
    int64_t tokens = 0;
    for (const Chunk& chunk : chunks_) tokens += chunk.inside.received();
    return tokens;
  }
  Tensor forward_all(const Context& context, const Tensor& x, const Trip& trip) const;
  Tensor go_back(const Context& context, const Tensor& sums, const Trip& trip) const;
};

Tensor hits_of(const Context& context, const Tensor& choices, const Tensor& homes) {
  const Tensor hits = context.empty({choices.size(0), homes.size(1)}, DType::kI32, "dispatch.hits");
  kernels::destination_hits(context.stream, {.experts = choices, .homes = homes, .hits = hits});
  return hits;
}

void FlexPlan::count(const Context& context, const Routing& routing) {
  const int64_t experts = group_.experts(), width = counts_of_member();
  const Tensor own = context.empty({width}, DType::kF64, "dispatch.counts");
  kernels::fill(context.stream, {.x = own, .value = 0});
  const Tensor homes = nodes_.homes(context), homes_by_node = nodes_.homes_by_node(context);
  int64_t at = 0;
  for (Chunk& chunk : chunks_) {
    const Tensor choices = routing.experts.slice(chunk.begin, chunk.end);
    kernels::count_choices(
        context.stream,
        {.experts = hits_of(context, choices, homes), .padding = {}, .counts = own.flat_slice(at, destinations())});
    at += destinations();
    chunk.to_nodes = sort_choices(context, hits_of(context, choices, homes_by_node), nodes_.nodes(), 0);
  }
  kernels::count_choices(context.stream,
                         {.experts = routing.experts, .padding = {}, .counts = own.flat_slice(at, experts)});
  const Tensor all = context.empty({nodes_.members(), width}, DType::kF64, "dispatch.counts");
  nodes_.ranks_of_group().all_gather(context.stream, own, all, "dispatch.counts");
  counts_ = read_counts(context, all, [&, said = declared(routing)](int64_t i) {
    const int64_t entry = i % width, rank = nodes_.ranks_of_group().world_ranks()[static_cast<size_t>(i / width)];
    if (entry >= at) return said->rows(rank, entry - at);
    const Chunk& chunk = chunks_[static_cast<size_t>(entry / destinations())];
    return said->tokens(rank, chunk.begin, chunk.end, nodes_.experts_at(entry % destinations()));
  });
}

void FlexPlan::set_exchanges() {
  const int64_t self = nodes_.self();
  for (size_t c = 0; c < chunks_.size(); ++c) {
    Chunk& chunk = chunks_[c];
    chunk.across.ranks = &nodes_.ranks_of_group();
    chunk.inside.ranks = &nodes_.ranks_of_node();
    for (int64_t member = 0; member < nodes_.members(); ++member) {
      const int64_t node = nodes_.node_of(member);
      chunk.across.send.push_back(nodes_.gateway(self, node) == member ? tokens_for_node(self, c, node) : 0);
      chunk.across.receive.push_back(
          nodes_.gateway(member, nodes_.node()) == self ? tokens_for_node(member, c, nodes_.node()) : 0);
    }
    for (const int64_t neighbour : nodes_.neighbours()) {
      int64_t sent = 0, received = 0;
      for (int64_t source = 0; source < nodes_.members(); ++source) {
        const int64_t gateway = nodes_.gateway(source, nodes_.node());
        if (gateway == self) sent += tokens_for_rank(source, c, neighbour);
        if (gateway == neighbour) received += tokens_for_rank(source, c, self);
      }
      chunk.inside.send.push_back(sent);
      chunk.inside.receive.push_back(received);
    }
    chunk.to_nodes.shorten(chunk.across.sent());
  }
}

FlexPlan::Arrivals FlexPlan::send_choices(const Context& context, const Routing& routing) {
  const Tensor homes = nodes_.homes_by_neighbour(context);
  const Tensor probs = as_dtype(context, routing.probs, DType::kF32);
  const int64_t topk = routing.experts.size(1);
  Arrivals in{context.empty({arrivals(), topk}, DType::kI32, "dispatch.choices"),
              context.empty({arrivals(), topk}, DType::kF32, "dispatch.choices"),
              {}};
  const auto send = [&](const RowExchange& exchange, const Tensor& rows, const Tensor& index, const Tensor& out) {
    const Tensor sorted = pick_rows(context, rows, index, "dispatch.choices");
    exchange.ranks->all_to_all_rows(context.stream, sorted, exchange.send, out, exchange.receive, "dispatch.choices");
  };
  int64_t at = 0;
  for (Chunk& chunk : chunks_) {
    const int64_t passing = chunk.across.received(), arriving = chunk.inside.received();
    const Tensor choices = context.empty({passing, topk}, DType::kI32, "dispatch.choices");
    const Tensor passing_probs = context.empty({passing, topk}, DType::kF32, "dispatch.choices");
    send(chunk.across, routing.experts.slice(chunk.begin, chunk.end), chunk.to_nodes.row_token, choices);
    send(chunk.across, probs.slice(chunk.begin, chunk.end), chunk.to_nodes.row_token, passing_probs);
    chunk.to_ranks =
        sort_choices(context, hits_of(context, choices, homes), static_cast<int64_t>(nodes_.neighbours().size()), 0);
    chunk.to_ranks.shorten(chunk.inside.sent());
    send(chunk.inside, choices, chunk.to_ranks.row_token, in.choices.slice(at, at + arriving));
    send(chunk.inside, passing_probs, chunk.to_ranks.row_token, in.probs.slice(at, at + arriving));
    at += arriving;
  }
  return in;
}

/// Tokens come as [chunk][gateway][source of that gateway]; experts want them by source, of one source in order.
void FlexPlan::order_by_source(const Context& context, Arrivals* in) {
  const int64_t self = nodes_.self();
  const std::vector<int64_t> by_source = nodes_.members_by_source();
  std::vector<int64_t> place_of_source(by_source.size());
  for (size_t s = 0; s < by_source.size(); ++s)
    place_of_source[static_cast<size_t>(by_source[s])] = static_cast<int64_t>(s);
  struct Piece {
    int64_t source;
    int32_t number;
  };
  std::vector<Piece> pieces;
  std::vector<int64_t> sizes;
  in->source_rows.assign(by_source.size(), 0);
  for (size_t c = 0; c < chunks_.size(); ++c)
    for (const int64_t gateway : nodes_.neighbours())
      for (int64_t member = 0; member < nodes_.members(); ++member) {
        if (nodes_.gateway(member, nodes_.node()) != gateway) continue;
        const int64_t source = place_of_source[static_cast<size_t>(member)];
        pieces.push_back({source, static_cast<int32_t>(sizes.size())});
        sizes.push_back(tokens_for_rank(member, c, self));
        in->source_rows[static_cast<size_t>(source)] += sizes.back();
      }
  std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.source < b.source; });
  std::vector<int32_t> order;
  for (const Piece& piece : pieces) order.push_back(piece.number);
  order_ = order_chunks(context, sizes, order);
  if (!order_.changes()) return;
  in->choices = pick_rows(context, in->choices, order_.from, "dispatch.choices");
  in->probs = pick_rows(context, in->probs, order_.from, "dispatch.choices");
}

void FlexPlan::place_rows(const Context& context, const Arrivals& in, int64_t capacity) {
  kernels::MapChoicesArgs here{.experts = in.choices,
                               .table = group_.local_numbers(context),
                               .source_rows = {},
                               .out = context.empty(in.choices.shape(), DType::kI32, "dispatch.choices")};
  // Padding is per source: each has rows of its own at every expert.
  if (capacity > 0) here.source_rows = index_tensor(context, in.source_rows);
  kernels::map_choices(context.stream, here);
  std::vector<int64_t> offsets{0};
  for (int64_t e = 0; e < group_.held(); ++e) {
    int64_t count = capacity * group_.ranks();
    if (capacity == 0)
      for (int64_t member = 0; member < nodes_.members(); ++member)
        count += rows_for_expert(member, group_.first() + e);
    offsets.push_back(offsets.back() + count);
  }
  offsets_ = index_tensor(context, offsets);
  // Declared counts of tokens and of rows need not fit each other to the last one.
  Permutation rows =
      sort_choices(context, here.out, group_.held() * (capacity > 0 ? group_.ranks() : 1), capacity, offsets.back());
  rows.shorten(offsets.back());
  row_weight_ = values_of_rows(context, in.probs, rows.row_slot);
  row_token_ = rows.row_token;
  slot_row_ = rows.slot_row;
  if (!order_.changes()) return;
  row_token_ = context.empty(rows.row_token.shape(), DType::kI32, "dispatch.row_token");
  kernels::compose_index(context.stream, {.table = order_.from, .index = rows.row_token, .out = row_token_});
  slot_row_ = pick_rows(context, rows.slot_row, order_.to, "dispatch.slot_row");
  order_ = {};
}

Tensor FlexPlan::to_experts(const Context& context, const Tensor& x, const Trip& trip) const {
  return pick_rows(context, forward_all(context, x, trip), row_token_, "dispatch.rows");
}

/// Chunks follow each other: while one spreads inside the node, the next one crosses.
Tensor FlexPlan::forward_all(const Context& context, const Tensor& x, const Trip& trip) const {
  const bool overlaps = chunks_.size() > 1 || trip.meanwhile;
  const Stream across = overlaps ? stream_across(context) : context.stream;
  const Stream inside = overlaps ? stream_inside(context) : context.stream;
  std::vector<RowsUnderWay> crossing, spreading;
  for (const Chunk& chunk : chunks_) {
    const Tensor sorted =
        pick_rows(context, x.slice(chunk.begin, chunk.end), chunk.to_nodes.row_token, "dispatch.sorted");
    crossing.emplace_back(context, across, chunk.across, sorted, trip.name);
  }
  if (trip.meanwhile && chunks_.size() == 1) trip.meanwhile();
  for (size_t c = 0; c < chunks_.size(); ++c) {
    const Tensor passing = crossing[c].arrived();
    const Tensor sorted = pick_rows(context, passing, chunks_[c].to_ranks.row_token, "dispatch.sorted");
    spreading.emplace_back(context, inside, chunks_[c].inside, sorted, trip.name);
  }
  if (trip.meanwhile && chunks_.size() > 1) trip.meanwhile();
  if (spreading.size() == 1) return spreading.front().arrived();
  const Tensor all = context.empty({arrivals(), x.size(1)}, x.dtype(), "dispatch.arrived");
  int64_t at = 0;
  for (RowsUnderWay& rows : spreading) {
    const Tensor piece = rows.arrived();
    if (piece.size(0) > 0) kernels::cast(context.stream, {.x = piece, .y = all.slice(at, at + piece.size(0))});
    at += piece.size(0);
  }
  return all;
}

Tensor FlexPlan::go_back(const Context& context, const Tensor& sums, const Trip& trip) const {
  const bool overlaps = chunks_.size() > 1 || trip.meanwhile;
  const Stream across = overlaps ? stream_across(context) : context.stream;
  const Stream inside = overlaps ? stream_inside(context) : context.stream;
  std::vector<RowsUnderWay> gathering, crossing;
  int64_t at = 0;
  for (const Chunk& chunk : chunks_) {
    const int64_t arrived = chunk.inside.received();
    gathering.emplace_back(context, inside, chunk.inside.back(), sums.slice(at, at + arrived), trip.name);
    at += arrived;
  }
  if (trip.meanwhile && chunks_.size() == 1) trip.meanwhile();
  for (size_t c = 0; c < chunks_.size(); ++c) {
    const Tensor of_node = sum_rows(context, gathering[c].arrived(), chunks_[c].to_ranks.slot_row, "combine.of_node");
    crossing.emplace_back(context, across, chunks_[c].across.back(), of_node, trip.name);
  }
  if (trip.meanwhile && chunks_.size() > 1) trip.meanwhile();
  const Tensor out = context.empty({chunks_.back().end, sums.size(1)}, sums.dtype(), "combine");
  for (size_t c = 0; c < chunks_.size(); ++c) {
    const Tensor rows = crossing[c].arrived();
    kernels::combine_rows(context.stream, {.rows = rows,
                                           .slot_row = chunks_[c].to_nodes.slot_row,
                                           .weight = {},
                                           .out = out.slice(chunks_[c].begin, chunks_[c].end)});
  }
  return out;
}

}  // namespace

SharedPlan make_flex_plan(const Context& context, const DispatchConfig& config, const ExpertGroup& group,
                          const Routing& routing) {
  return std::make_shared<FlexPlan>(context, config, group, routing);
}

}  // namespace conclave
