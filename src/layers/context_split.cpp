#include "layers/context_split.h"

#include "kernels/axes.h"
#include "kernels/columns.h"
#include "kernels/elementwise.h"

namespace conclave {
namespace {

void copy(const Context& context, const Tensor& from, const Tensor& to) {
  kernels::cast(context.stream, {.x = from.view({from.element_count()}), .y = to.view({to.element_count()})});
}

int64_t inner_size(const ProcessGroups& groups, ContextExchange kind) {
  switch (kind) {
    case ContextExchange::kRing:
    case ContextExchange::kGather:
      return 1;
    case ContextExchange::kHeads:
      return groups.part().context.size;
    case ContextExchange::kHeadsThenRing:
      return groups.layout().sizes().hierarchical_context.at(0);
  }
  return 1;
}

}  // namespace

ContextSplit::ContextSplit(const Context& context, ContextExchange kind)
    : context_(context),
      ranks_(context.groups->part().context.size),
      inner_(inner_size(*context.groups, kind)),
      outer_(ranks_ / inner_),
      inner_rank_(context.groups->part().context.rank % inner_),
      outer_rank_(context.groups->part().context.rank / inner_),
      chunk_(context.batch.sequence_length / 2) {}

Communicator& ContextSplit::inner_group() const {
  return inner_ == ranks_ ? context_.groups->of(GroupKind::kContext) : context_.groups->context_level(0);
}

Communicator& ContextSplit::outer_group() const {
  return outer_ == ranks_ ? context_.groups->of(GroupKind::kContext) : context_.groups->context_level(1);
}

std::vector<SequenceRun> ContextSplit::runs(int64_t outer_rank) const {
  const int64_t size = inner_ * chunk_;
  if (outer_ == 1) return {{0, 2 * size}};
  return {{outer_rank * size, size}, {(2 * outer_ - 1 - outer_rank) * size, size}};
}

Tensor ContextSplit::swapped(const Tensor& x, int64_t a, int64_t b) const {
  const int64_t rest = a * b == 0 ? 0 : x.element_count() / (a * b);
  const Tensor y = context_.empty({b, a, rest}, x.dtype(), "context.order");
  kernels::swap_axes(context_.stream, {.x = x.view({a, b, rest}), .y = y});
  return y;
}

// Equal parts of x [inner, ...] change places between the ranks of the inner group.
Tensor ContextSplit::exchanged(const Tensor& x) const {
  const Tensor y = context_.empty(x.shape(), x.dtype(), "context.heads");
  const std::vector<int64_t> each(static_cast<size_t>(inner_), 1);
  const Shape rows{inner_, x.element_count() / inner_};
  inner_group().all_to_all_rows(context_.stream, x.view(rows), each, y.view(rows), each, "context.heads");
  return y;
}

// Where the first (half 0) or second chunk of an inner rank stands among the 2*inner chunks that the group has.
int64_t ContextSplit::place(int64_t inner_rank, int64_t half) const {
  return half == 0 ? inner_rank : 2 * inner_ - 1 - inner_rank;
}

Tensor ContextSplit::run_buffer(const std::vector<int64_t>& chunk_shape, DType dtype) const {
  std::vector<int64_t> sizes = {2 * inner_};
  sizes.insert(sizes.end(), chunk_shape.begin(), chunk_shape.end());
  return context_.empty(Shape(sizes), dtype, "context.runs");
}

std::vector<Tensor> ContextSplit::spread_heads(const Tensor& x) const {
  const int64_t batch = x.size(0), heads = x.size(1) / inner_, depth = x.size(3), width = chunk_ * depth;
  // [source, heads*B, both chunks]
  const Tensor got = inner_ == 1 ? x : exchanged(swapped(x, batch, x.size(1)));
  const Tensor chunks = run_buffer({heads * batch, width}, x.dtype());
  for (int64_t source = 0; source < inner_; ++source) {
    const Tensor block = got.view({inner_, heads * batch, 2 * width})[source];
    kernels::split_columns(context_.stream,
                           {.x = block, .left = chunks[place(source, 0)], .right = chunks[place(source, 1)]});
  }
  std::vector<Tensor> out;
  const int64_t parts = outer_ == 1 ? 1 : 2, each = 2 * inner_ / parts;
  for (int64_t part = 0; part < parts; ++part) {
    Tensor run = swapped(chunks.slice(part * each, (part + 1) * each), each, heads * batch);
    if (inner_ > 1) run = swapped(run, heads, batch);
    out.push_back(run.view({batch, heads, each * chunk_, depth}));
  }
  return out;
}

Tensor ContextSplit::collect_heads(const std::vector<Tensor>& runs) const {
  const int64_t batch = runs[0].size(0), heads = runs[0].size(1), depth = runs[0].size(3), width = chunk_ * depth;
  const Tensor chunks = run_buffer({heads * batch, width}, runs[0].dtype());
  const auto parts = static_cast<int64_t>(runs.size()), each = 2 * inner_ / parts;
  for (int64_t part = 0; part < parts; ++part) {
    Tensor run = runs[static_cast<size_t>(part)];
    if (inner_ > 1) run = swapped(run, batch, heads);
    copy(context_, swapped(run, heads * batch, each), chunks.slice(part * each, (part + 1) * each));
  }
  const Tensor give = context_.empty({inner_, heads * batch, 2 * width}, runs[0].dtype(), "context.heads");
  for (int64_t target = 0; target < inner_; ++target) {
    kernels::join_columns(context_.stream,
                          {.left = chunks[place(target, 0)], .right = chunks[place(target, 1)], .x = give[target]});
  }
  const Tensor x = inner_ == 1 ? give : swapped(exchanged(give), heads * inner_, batch);
  return x.view({batch, heads * inner_, 2 * chunk_, depth});
}

std::vector<Tensor> ContextSplit::spread_rows(const Tensor& x, int64_t heads) const {
  const int64_t batch = x.size(1), width = x.size(2) / inner_;
  CONCLAVE_CHECK(heads % inner_ == 0, "{} heads over {} ranks of CP", heads, inner_);
  if (inner_ == 1) return {x.slice(0, chunk_), x.slice(chunk_, 2 * chunk_)};
  const Tensor got = exchanged(swapped(x, 2 * chunk_ * batch, inner_)).view({inner_, 2, chunk_ * batch * width});
  const Tensor chunks = run_buffer({chunk_ * batch * width}, x.dtype());
  for (int64_t source = 0; source < inner_; ++source) {
    for (const int64_t half : {0, 1}) copy(context_, got[source][half], chunks[place(source, half)]);
  }
  if (outer_ == 1) return {chunks.view({2 * inner_ * chunk_, batch, width})};
  const Shape run{inner_ * chunk_, batch, width};
  return {chunks.slice(0, inner_).view(run), chunks.slice(inner_, 2 * inner_).view(run)};
}

Tensor ContextSplit::collect_rows(const std::vector<Tensor>& runs, int64_t heads) const {
  const int64_t batch = runs[0].size(1), width = runs[0].size(2), rows = chunk_ * batch;
  CONCLAVE_CHECK(heads % inner_ == 0, "{} heads over {} ranks of CP", heads, inner_);
  const Tensor give = context_.empty({inner_, 2, rows * width}, runs[0].dtype(), "context.rows");
  const int64_t each = 2 * inner_ / static_cast<int64_t>(runs.size());
  for (int64_t target = 0; target < inner_; ++target) {
    for (const int64_t half : {0, 1}) {
      const int64_t at = place(target, half);
      const Tensor run = runs[static_cast<size_t>(at / each)].view({each, rows * width});
      copy(context_, run[at % each], give[target][half]);
    }
  }
  const Tensor x = inner_ == 1 ? give : swapped(exchanged(give), inner_, 2 * rows);
  return x.view({2 * chunk_, batch, width * inner_});
}

Tensor ContextSplit::gather(const std::vector<Tensor>& runs) const {
  const int64_t batch = runs[0].size(0), heads = runs[0].size(1), size = runs[0].size(2), depth = runs[0].size(3);
  const int64_t block = batch * heads * size * depth;
  const Tensor own = context_.empty({2, block}, runs[0].dtype(), "context.own");
  for (const int64_t half : {0, 1}) copy(context_, runs[static_cast<size_t>(half)], own[half]);
  const Tensor all = context_.empty({outer_, 2, block}, own.dtype(), "context.all");
  outer_group().all_gather(context_.stream, own, all, "context.gather");
  const Tensor ordered = context_.empty({2 * outer_, block}, own.dtype(), "context.ordered");
  for (int64_t rank = 0; rank < outer_; ++rank) {
    copy(context_, all[rank][0], ordered[rank]);
    copy(context_, all[rank][1], ordered[2 * outer_ - 1 - rank]);
  }
  return swapped(ordered, 2 * outer_, batch * heads).view({batch, heads, 2 * outer_ * size, depth});
}

std::vector<Tensor> ContextSplit::reduce_scatter(const Tensor& whole) const {
  const int64_t batch = whole.size(0), heads = whole.size(1), depth = whole.size(3),
                size = whole.size(2) / (2 * outer_);
  const int64_t block = batch * heads * size * depth;
  const Tensor ordered = swapped(whole, batch * heads, 2 * outer_).view({2 * outer_, block});
  const Tensor all = context_.empty({outer_, 2, block}, whole.dtype(), "context.all");
  for (int64_t rank = 0; rank < outer_; ++rank) {
    copy(context_, ordered[rank], all[rank][0]);
    copy(context_, ordered[2 * outer_ - 1 - rank], all[rank][1]);
  }
  const Tensor own = context_.empty({2, block}, whole.dtype(), "context.own");
  outer_group().reduce_scatter(context_.stream, all, own, "context.reduce_scatter");
  const Shape run{batch, heads, size, depth};
  return {own[0].view(run), own[1].view(run)};
}

Tensor ContextSplit::columns_of_run(const Tensor& x, const SequenceRun& run) const {
  if (!x.defined() || run.size == x.size(1)) return x;
  return swapped(x, x.size(0), x.size(1) / run.size)[run.position / run.size].view({x.size(0), run.size});
}

}  // namespace conclave
