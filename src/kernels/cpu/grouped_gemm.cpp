#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector.h"
#include "kernels/grouped_gemm_backend.h"

// Row counts are different every step, so products run through families of primitives whose row counts are multiples of
// sixteen. Where an expert's rows are not, forward and input-gradient products run on into the rows of the next expert,
// which are overwritten when its turn comes; the last rows of all, and those of sums over rows, go through padded
// copies.
namespace conclave::kernels::cpu {
namespace {

constexpr int64_t kStep = MatmulFamily::kRowStep;
constexpr int64_t kMax = MatmulFamily::kMaxRows;

int64_t aligned(int64_t bytes) { return round_up(bytes, Allocator::kAlignment); }

/// The experts' rows, checked: a wrong offset must not become a wild pointer.
class Groups {
 public:
  Groups(const Tensor& offsets, int64_t rows)
      : offsets_(offsets.data<int64_t>()), experts_(offsets.element_count() - 1) {
    CONCLAVE_CHECK(offsets_[0] == 0 && total() <= rows, "[kernels/grouped_gemm] offsets go from {} to {} over {} rows",
                   offsets_[0], total(), rows);
    for (int64_t e = 0; e < experts_; ++e)
      CONCLAVE_CHECK(begin(e) <= end(e), "[kernels/grouped_gemm] expert {} has offsets {} to {}", e, begin(e), end(e));
  }
  int64_t experts() const { return experts_; }
  int64_t begin(int64_t e) const { return offsets_[e]; }
  int64_t end(int64_t e) const { return offsets_[e + 1]; }
  int64_t total() const { return offsets_[experts_]; }

  /// Where the rows of thread `part` of `parts` begin: near its equal share, a multiple of kStep inside an expert.
  int64_t bound(int64_t part, int64_t parts) const {
    const int64_t target = total() * part / parts;
    if (part == 0 || part == parts) return target;
    const int64_t e = std::upper_bound(offsets_, offsets_ + experts_ + 1, target) - offsets_ - 1;
    if (e >= experts_) return total();
    return std::min(begin(e) + round_up(target - begin(e), kStep), end(e));
  }

 private:
  const int64_t* offsets_;
  int64_t experts_;
};

/// Products out[rows] = in[rows] · op(weight[expert]): forward and input gradient.
struct RowProduct {
  MatmulSpec spec;  ///< m varies
  const std::byte* in = nullptr;
  const std::byte* weight = nullptr;
  const std::byte* bias = nullptr;
  std::byte* out = nullptr;

  int64_t element() const { return dtype_size(spec.dtype); }
  int64_t in_row() const { return spec.k * element(); }
  int64_t out_row() const { return spec.n * element(); }
  int64_t family_bytes() const { return aligned(matmul_family_scratch_bytes(spec, &MatmulSpec::m)); }
  int64_t thread_bytes() const { return family_bytes() + aligned(kStep * in_row()) + aligned(kStep * out_row()); }
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
          args.x.raw(),
          args.weight.raw(),
          args.bias.raw(),
          args.y.raw()};
}

RowProduct row_product(const GroupedInputGradientArgs& args) {
  const int64_t n = args.weight.size(1), k = args.weight.size(2);
  return {{.n = k, .k = n, .dtype = args.dy.dtype(), .c_dtype = args.dx.dtype(), .lda = n, .ldb = k, .ldc = k},
          args.dy.raw(),
          args.weight.raw(),
          nullptr,
          args.dx.raw()};
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
    const MatmulSpec& s = product_.spec;
    family_.of(rows).run({.a = in,
                          .b = product_.weight + e * s.n * s.k * product_.element(),
                          .bias = product_.bias == nullptr ? nullptr : product_.bias + e * product_.out_row(),
                          .c = out,
                          .scratch = scratch_});
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

bool is_empty(const RowProduct& product) { return product.spec.n == 0 || product.spec.k == 0; }

void run_row_product(const RowProduct& product, const Groups& groups, std::byte* scratch) {
  if (groups.total() == 0 || product.spec.n == 0) return;
  if (product.spec.k == 0) {
    CONCLAVE_CHECK(product.bias == nullptr, "[kernels/grouped_gemm] a bias on a sum of no terms");
    std::memset(product.out, 0, static_cast<size_t>(groups.total() * product.out_row()));
    return;
  }
  const auto family = find_matmul_family(product.spec, &MatmulSpec::m);
  const int threads = omp_get_max_threads();
  const int64_t thread_bytes = product.thread_bytes();
  on_threads(threads, [&](int thread) {
    RowProductThread worker(product, *family, scratch + thread * thread_bytes);
    const int64_t first = groups.bound(thread, threads), limit = groups.bound(thread + 1, threads);
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

  int64_t element() const { return dtype_size(spec.dtype); }
  int64_t family_bytes() const { return aligned(matmul_family_scratch_bytes(spec, &MatmulSpec::k)); }
  int64_t dy_bytes() const { return aligned(kStagedRows * n * element()); }
  int64_t thread_bytes() const { return family_bytes() + dy_bytes() + aligned(kStagedRows * spec.n * element()); }
};

WeightProduct weight_product(const GroupedWeightGradientArgs& args) {
  constexpr int64_t kPartsPerThread = 16, kNarrowest = 128;
  WeightProduct product;
  product.n = args.dweight.size(1);
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
  const auto family = find_matmul_family(product.spec, &MatmulSpec::k);
  const int64_t thread_bytes = product.thread_bytes(), parts = groups.experts() * product.slices;
  std::atomic<int64_t> next{0};
  on_threads(omp_get_max_threads(), [&](int thread) {
    WeightProductThread worker(work, product, *family, work.workspace.raw() + thread * thread_bytes);
    for (int64_t part = next++; part < parts; part = next++) {
      const int64_t e = part / product.slices;
      worker.slice(e, part % product.slices, groups.begin(e), groups.end(e));
    }
  });
}

}  // namespace conclave::kernels::cpu
