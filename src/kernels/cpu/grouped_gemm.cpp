#include <omp.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/groups.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/packed_product.h"
#include "kernels/cpu/vector.h"
#include "kernels/grouped_gemm_backend.h"

// Packed products (packed_product.h) take any number of rows as it comes. What follows is for the others, oneDNN's:
// row counts are different every step, so products run through families of primitives whose row counts are multiples of
// sixteen. Where an expert's rows are not, forward and input-gradient products run on into the rows of the next expert,
// which are overwritten when its turn comes; the last rows of all, and those of sums over rows, go through padded
// copies.
namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kStep = MatmulFamily::kRowStep;
constexpr int64_t kMax = MatmulFamily::kMaxRows;

int64_t aligned(int64_t bytes) { return round_up(bytes, Allocator::kAlignment); }

/// Products out[rows] = in[rows] · op(weight[expert]): forward and input gradient.
struct RowProduct {
  MatmulSpec spec;   ///< m varies
  int64_t rows = 0;  ///< of all experts, at most
  const std::byte* in = nullptr;
  const std::byte* weight = nullptr;
  const std::byte* bias = nullptr;
  std::byte* out = nullptr;

  int64_t element() const { return dtype_size(spec.dtype); }
  int64_t in_row() const { return spec.k * element(); }
  int64_t out_row() const { return spec.n * element(); }
  int64_t family_bytes() const { return aligned(matmul_family_scratch_bytes(spec, &MatmulSpec::m)); }
  int64_t thread_bytes() const {
    if (packed()) return packed_thread_bytes(spec, grid());
    return family_bytes() + aligned(kStep * in_row()) + aligned(kStep * out_row());
  }
  bool packed() const {
    MatmulSpec whole = spec;
    whole.m = rows;
    return packs_itself(whole);
  }
  PackedGrid grid() const { return {kMostBlockRows, kPanelColumns}; }
};

RowProduct row_product(const GroupedForwardArgs& args) {
  const int64_t n = args.weight.size(1), k = args.weight.size(2);
  return {{.n = n,
           .k = k,
           .dtype = args.x.dtype(),
           .c_dtype = args.y.dtype(),
           .transpose_b = Transpose::kYes,
           .lda = k,
           .ldb = k,
           .ldc = n,
           .has_bias = args.bias.defined(),
           .bias_dtype = args.x.dtype()},
          args.x.size(0),
          args.x.raw(),
          args.weight.raw(),
          args.bias.raw(),
          args.y.raw()};
}

RowProduct row_product(const GroupedInputGradientArgs& args) {
  const int64_t n = args.weight.size(1), k = args.weight.size(2);
  return {{.n = k, .k = n, .dtype = args.dy.dtype(), .c_dtype = args.dx.dtype(), .lda = n, .ldb = k, .ldc = k},
          args.dy.size(0),
          args.dy.raw(),
          args.weight.raw(),
          nullptr,
          args.dx.raw()};
}

MatmulOperands expert_operands(const RowProduct& product, int64_t e, int64_t row) {
  const MatmulSpec& s = product.spec;
  return {.a = product.in + row * product.in_row(),
          .b = product.weight + e * s.n * s.k * product.element(),
          .bias = product.bias == nullptr ? nullptr : product.bias + e * product.out_row(),
          .c = product.out + row * product.out_row()};
}

/// One thread's work on a RowProduct.
class RowProductThread {
 public:
  RowProductThread(const RowProduct& product, const MatmulFamily& family, std::byte* scratch)
      : product_(product),
        family_(family),
        scratch_(scratch),
        in_(scratch + product.family_bytes()),
        out_(in_ + aligned(kStep * product.in_row())) {}

  /// Rows [begin, end); may write into [end, limit), which this thread fills later.
  void expert(int64_t e, int64_t begin, int64_t end, int64_t limit) {
    for (; begin < end; begin += kMax) {
      const int64_t rows = std::min(end - begin, kMax);
      const int64_t whole = begin + round_up(rows, kStep) <= limit ? round_up(rows, kStep) : rows / kStep * kStep;
      if (whole > 0) run(e, whole, product_.in + begin * product_.in_row(), product_.out + begin * product_.out_row());
      if (whole < rows) last_rows(e, begin + whole, rows - whole);
    }
  }

 private:
  void run(int64_t e, int64_t rows, const std::byte* in, std::byte* out) const {
    MatmulOperands operands = expert_operands(product_, e, 0);
    operands.a = in;
    operands.c = out;
    operands.scratch = scratch_;
    family_.of(rows).run(operands);
  }

  void last_rows(int64_t e, int64_t begin, int64_t rows) const {
    const int64_t used = rows * product_.in_row();
    std::memcpy(in_, product_.in + begin * product_.in_row(), static_cast<size_t>(used));
    std::memset(in_ + used, 0, static_cast<size_t>(kStep * product_.in_row() - used));
    run(e, kStep, in_, out_);
    std::memcpy(product_.out + begin * product_.out_row(), out_, static_cast<size_t>(rows * product_.out_row()));
  }

  const RowProduct& product_;
  const MatmulFamily& family_;
  std::byte* scratch_;
  std::byte* in_;
  std::byte* out_;
};

/// Tasks are blocks of rows times panels of columns.
void run_rows_packed(const RowProduct& product, const Groups& groups, std::byte* scratch) {
  const int64_t panels = ceil_div(product.spec.n, kPanelColumns), thread_bytes = product.thread_bytes();
  const auto blocks_of = [&](int64_t e) { return ceil_div(groups.rows(e), kMostBlockRows); };
  const auto weight_at = [&](int64_t e, int64_t task) {
    const MatmulSpec& s = product.spec;
    const int64_t column = task % panels * kPanelColumns;
    return product.weight +
           (e * s.n * s.k + column * (s.transpose_b == Transpose::kYes ? s.ldb : 1)) * product.element();
  };
  for_each_group_task(
      groups, [&](int64_t e) { return blocks_of(e) * panels; },
      [&](int thread, const GroupTask& at, const GroupTask& next) {
        const int64_t e = at.expert, task = at.task;
        const int64_t share = round_up(ceil_div(groups.rows(e), blocks_of(e)), 2), row = task / panels * share;
        const int64_t column = task % panels * kPanelColumns;
        MatmulOperands operands = expert_operands(product, e, groups.begin(e));
        operands.scratch = scratch + thread * thread_bytes;
        if (next.expert < groups.experts()) operands.next_b = weight_at(next.expert, next.task);
        run_packed_block(product.spec, operands,
                         {.row = row,
                          .rows = std::min(share, groups.rows(e) - row),
                          .column = column,
                          .columns = std::min(kPanelColumns, product.spec.n - column)});
      });
}

bool is_empty(const RowProduct& product) { return product.spec.n == 0 || product.spec.k == 0; }

void run_row_product(const RowProduct& product, const Groups& groups, std::byte* scratch) {
  if (groups.total() == 0 || product.spec.n == 0) return;
  if (product.spec.k == 0) {
    CONCLAVE_CHECK(product.bias == nullptr, "[kernels/grouped_gemm] a bias on a sum of no terms");
    std::memset(product.out, 0, static_cast<size_t>(groups.total() * product.out_row()));
    return;
  }
  if (product.packed()) return run_rows_packed(product, groups, scratch);
  const auto family = find_matmul_family(product.spec, &MatmulSpec::m);
  const int threads = omp_get_max_threads();
  const int64_t thread_bytes = product.thread_bytes();
  on_threads(threads, [&](int thread) {
    RowProductThread worker(product, *family, scratch + thread * thread_bytes);
    const int64_t first = groups.bound(thread, threads, kStep), limit = groups.bound(thread + 1, threads, kStep);
    for (int64_t e = 0; e < groups.experts(); ++e)
      worker.expert(e, std::max(groups.begin(e), first), std::min(groups.end(e), limit), limit);
  });
}

/// Products dweight[e] += (rows of dy)^T (rows of x), each cut into slices of dweight's rows so that threads find
/// enough to do.
struct WeightProduct {
  static constexpr int64_t kStagedRows = 64;  ///< so few rows are copied whole rather than in two products
  MatmulSpec spec;                            ///< k varies
  int64_t n = 0, slices = 1;
  int64_t rows = 0;  ///< of all experts, at most

  int64_t element() const { return dtype_size(spec.dtype); }
  int64_t family_bytes() const { return aligned(matmul_family_scratch_bytes(spec, &MatmulSpec::k)); }
  int64_t dy_bytes() const { return aligned(kStagedRows * n * element()); }
  int64_t thread_bytes() const {
    if (packed()) return packed_thread_bytes(whole(), grid());
    return family_bytes() + dy_bytes() + aligned(kStagedRows * spec.n * element());
  }
  /// The product of an expert who has all rows.
  MatmulSpec whole() const {
    MatmulSpec out = spec;
    out.m = n;
    out.k = rows;
    return out;
  }
  bool packed() const { return packs_itself(whole()); }
  PackedGrid grid() const { return packed_grid(whole(), slices); }
};

WeightProduct weight_product(const GroupedWeightGradientArgs& args) {
  constexpr int64_t kPartsPerThread = 16, kNarrowest = 128;
  WeightProduct product;
  product.n = args.dweight.size(1);
  product.rows = args.dy.size(0);
  const int64_t k = args.dweight.size(2), wanted = kPartsPerThread * omp_get_max_threads();
  while (args.dweight.size(0) * product.slices < wanted && product.n % (2 * product.slices) == 0 &&
         product.n / (2 * product.slices) >= kNarrowest)
    product.slices *= 2;
  product.spec = {.m = product.n / product.slices,
                  .n = k,
                  .dtype = args.dy.dtype(),
                  .c_dtype = DType::kF32,
                  .transpose_a = Transpose::kYes,
                  .lda = product.n,
                  .ldb = k,
                  .ldc = k,
                  .accumulate = Accumulate::kAdd};
  return product;
}

class WeightProductThread {
 public:
  WeightProductThread(const GroupedWeightGradientArgs& args, const WeightProduct& product, const MatmulFamily& family,
                      std::byte* scratch)
      : args_(args),
        product_(product),
        family_(family),
        scratch_(scratch),
        dy_(scratch + product.family_bytes()),
        x_(dy_ + product.dy_bytes()) {}

  void slice(int64_t e, int64_t slice, int64_t begin, int64_t end) {
    column_ = slice * product_.spec.m;
    c_ = args_.dweight.data<float>() + (e * product_.n + column_) * product_.spec.n;
    while (begin < end) {
      int64_t rows = std::min(end - begin, kMax);
      if (rows % kStep == 0) {
        run(rows, dy_at(begin), x_at(begin));
      } else if (rows <= WeightProduct::kStagedRows) {
        padded(begin, rows);
      } else {
        rows -= rows % kStep;
        run(rows, dy_at(begin), x_at(begin));
      }
      begin += rows;
    }
  }

 private:
  const std::byte* dy_at(int64_t row) const {
    return args_.dy.raw() + (row * product_.n + column_) * product_.element();
  }
  const std::byte* x_at(int64_t row) const { return args_.x.raw() + row * product_.spec.n * product_.element(); }

  void run(int64_t rows, const std::byte* dy, const std::byte* x) const {
    family_.of(rows).run({.a = dy, .b = x, .c = c_, .scratch = scratch_});
  }

  /// Copies rows and sets those up to the next multiple of kStep to zero: they add nothing.
  void padded(int64_t begin, int64_t rows) const {
    const int64_t whole = round_up(rows, kStep), dy_stride = product_.n * product_.element();
    const auto dy_width = static_cast<size_t>(product_.spec.m * product_.element());
    const int64_t x_used = rows * product_.spec.n * product_.element();
    const int64_t x_whole = whole * product_.spec.n * product_.element();
    for (int64_t r = 0; r < rows; ++r) std::memcpy(dy_ + r * dy_stride, dy_at(begin + r), dy_width);
    for (int64_t r = rows; r < whole; ++r) std::memset(dy_ + r * dy_stride, 0, dy_width);
    std::memcpy(x_, x_at(begin), static_cast<size_t>(x_used));
    std::memset(x_ + x_used, 0, static_cast<size_t>(x_whole - x_used));
    run(whole, dy_, x_);
  }

  const GroupedWeightGradientArgs& args_;
  const WeightProduct& product_;
  const MatmulFamily& family_;
  std::byte* scratch_;
  std::byte* dy_;
  std::byte* x_;
  int64_t column_ = 0;
  float* c_ = nullptr;
};

void run_sums_packed(const GroupedWeightGradientWork& work, const WeightProduct& product, const Groups& groups) {
  const PackedGrid grid = product.grid();
  const int64_t thread_bytes = product.thread_bytes(), n = product.n, k = product.spec.n;
  const int64_t wide = ceil_div(k, grid.columns), blocks = wide * ceil_div(n, grid.rows);
  for_each_group_task(
      groups, [&](int64_t e) { return groups.rows(e) == 0 ? 0 : blocks; },
      [&](int thread, const GroupTask& at, const GroupTask&) {
        const auto [e, task] = at;
        const int64_t row = task / wide * grid.rows, column = task % wide * grid.columns;
        MatmulSpec spec = product.whole();
        spec.k = groups.rows(e);
        run_packed_block(spec,
                         {.a = work.dy.raw() + groups.begin(e) * n * product.element(),
                          .b = work.x.raw() + groups.begin(e) * k * product.element(),
                          .c = work.dweight.data<float>() + e * n * k,
                          .scratch = work.workspace.raw() + thread * thread_bytes},
                         {.row = row,
                          .rows = std::min(grid.rows, n - row),
                          .column = column,
                          .columns = std::min(grid.columns, k - column)});
      });
}

template <typename T>
void add_bias_gradients(const GroupedWeightGradientArgs& args, const Groups& groups) {
  const int64_t n = args.dy.size(1);
  const T* dy = args.dy.data<T>();
  float* dbias = args.dbias.data<float>();
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t e = 0; e < groups.experts(); ++e) {
    for (int64_t j = 0; j < n; j += kLanes) {
      const int64_t count = std::min(kLanes, n - j);
      VecF sum{};
      for (int64_t r = groups.begin(e); r < groups.end(e); ++r) sum += load_some(dy + r * n + j, count);
      store_some(dbias + e * n + j, load_some(dbias + e * n + j, count) + sum, count);
    }
  }
}

bool is_empty(const WeightProduct& product) { return product.spec.m == 0 || product.spec.n == 0; }

}  // namespace

int64_t grouped_scratch_bytes(const GroupedForwardArgs& args) {
  const RowProduct product = row_product(args);
  return is_empty(product) ? 0 : omp_get_max_threads() * product.thread_bytes();
}
int64_t grouped_scratch_bytes(const GroupedInputGradientArgs& args) {
  const RowProduct product = row_product(args);
  return is_empty(product) ? 0 : omp_get_max_threads() * product.thread_bytes();
}
int64_t grouped_scratch_bytes(const GroupedWeightGradientArgs& args) {
  const WeightProduct product = weight_product(args);
  return is_empty(product) ? 0 : omp_get_max_threads() * product.thread_bytes();
}

void grouped_gemm_forward(const Stream&, const GroupedForwardWork& work) {
  run_row_product(row_product(work), Groups(work.offsets, work.x.size(0)), work.workspace.raw());
}

void grouped_gemm_input_gradient(const Stream&, const GroupedInputGradientWork& work) {
  run_row_product(row_product(work), Groups(work.offsets, work.dy.size(0)), work.workspace.raw());
}

void grouped_gemm_weight_gradient(const Stream&, const GroupedWeightGradientWork& work) {
  const Groups groups(work.offsets, work.dy.size(0));
  const WeightProduct product = weight_product(work);
  if (work.dbias)
    work.dy.dtype() == DType::kBF16 ? add_bias_gradients<BF16>(work, groups) : add_bias_gradients<float>(work, groups);
  if (is_empty(product) || groups.total() == 0) return;
  if (product.packed()) return run_sums_packed(work, product, groups);
  const auto family = find_matmul_family(product.spec, &MatmulSpec::k);
  const int64_t thread_bytes = product.thread_bytes();
  for_each_group_task(
      groups, [&](int64_t) { return product.slices; },
      [&](int thread, const GroupTask& at, const GroupTask&) {
        WeightProductThread(work, product, *family, work.workspace.raw() + thread * thread_bytes)
            .slice(at.expert, at.task, groups.begin(at.expert), groups.end(at.expert));
      });
}

}  // namespace conclave::kernels::cpu
