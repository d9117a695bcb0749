#include "kernels/cpu/matmul.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "base/hash.h"

namespace conclave::kernels {
namespace {
std::atomic<int64_t> primitives_created{0};
}

int64_t gemm_primitives_created() { return primitives_created.load(); }

namespace cpu {
namespace {

using dnnl::memory;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

const dnnl::stream& thread_stream() {
  thread_local const dnnl::stream stream(cpu_engine());
  return stream;
}

memory::data_type dnnl_type(DType dtype) {
  CONCLAVE_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "no oneDNN product of {}", dtype_name(dtype));
  return dtype == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

memory::desc matrix(int64_t rows, int64_t columns, DType dtype, Transpose transpose, int64_t leading) {
  const memory::dims strides = transpose == Transpose::kYes ? memory::dims{1, leading} : memory::dims{leading, 1};
  return memory::desc({rows, columns}, dnnl_type(dtype), strides);
}

/// oneDNN fixes the number of threads of a primitive when it is described.
class ThreadCount {
 public:
  explicit ThreadCount(int count) : before_(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~ThreadCount() { omp_set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

struct Description {
  memory::desc a, b, c, bias;
  dnnl::matmul::primitive_desc primitive;
};

Description describe_matmul(const MatmulSpec& spec) {
  const ThreadCount threads(spec.threads);
  Description out;
  out.a = matrix(spec.m, spec.k, spec.dtype, spec.transpose_a, spec.lda);
  out.b = matrix(spec.k, spec.n, spec.dtype, spec.transpose_b, spec.ldb);
  out.c = matrix(spec.m, spec.n, spec.c_dtype, Transpose::kNo, spec.ldc);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (spec.accumulate == Accumulate::kAdd) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  if (spec.has_bias) {
    out.bias = memory::desc({1, spec.n}, dnnl_type(spec.bias_dtype), memory::format_tag::ab);
    out.primitive = {dnnl::matmul::desc(out.a, out.b, out.bias, out.c), attributes, cpu_engine()};
  } else {
    out.primitive = {dnnl::matmul::desc(out.a, out.b, out.c), attributes, cpu_engine()};
  }
  return out;
}

int64_t described_scratch_bytes(const MatmulSpec& spec) {
  return static_cast<int64_t>(describe_matmul(spec).primitive.scratchpad_desc().get_size());
}

std::string text_of(const MatmulSpec& spec) {
  return fmt::format("[{} x {}] · [{} x {}] {} -> {}", spec.m, spec.k, spec.k, spec.n, dtype_name(spec.dtype),
                     dtype_name(spec.c_dtype));
}

/// Runs body, turning oneDNN's errors into ours.
template <typename Body>
auto with_dnnl_errors(const MatmulSpec& spec, Body body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    throw InternalError(fmt::format("[kernels/gemm] oneDNN refused the product {}: {} (status {})", text_of(spec),
                                    error.what(), static_cast<int>(error.status)));
  }
}

struct SpecHash {
  size_t operator()(const MatmulSpec& spec) const {
    const int64_t words[] = {spec.m,
                             spec.n,
                             spec.k,
                             spec.lda,
                             spec.ldb,
                             spec.ldc,
                             static_cast<int64_t>(spec.dtype) | static_cast<int64_t>(spec.c_dtype) << 8 |
                                 static_cast<int64_t>(spec.bias_dtype) << 16,
                             static_cast<int64_t>(spec.transpose_a) | static_cast<int64_t>(spec.transpose_b) << 1 |
                                 static_cast<int64_t>(spec.accumulate) << 2 | static_cast<int64_t>(spec.has_bias) << 3,
                             spec.threads};
    return hash64({reinterpret_cast<const char*>(words), sizeof words}, 0);
  }
};

/// A bounded map from shapes to what was made for them. When it is full it starts anew: shapes that change without end
/// (prompts of every length) then cost a few primitives again, and memory stays bounded.
template <typename Value>
class Kept {
 public:
  template <typename Make>
  Value find(const MatmulSpec& spec, Make make) {
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(spec);
    if (found != values_.end()) return found->second;
    if (values_.size() >= kCapacity) values_.clear();
    return values_[spec] = make();
  }

 private:
  static constexpr size_t kCapacity = 1024;
  std::mutex mutex_;
  std::unordered_map<MatmulSpec, Value, SpecHash> values_;
};

/// `spec` with `rows` on the axis that varies; zero there is the family's own key.
MatmulSpec with_rows(MatmulSpec spec, int64_t MatmulSpec::*axis, int64_t rows) {
  spec.*axis = rows;
  return spec;
}

}  // namespace

struct Matmul::Primitive {
  MatmulSpec spec;
  Description description;
  dnnl::matmul matmul;
  memory::desc scratch;
};

Matmul::Matmul(const MatmulSpec& spec) : primitive_(std::make_unique<Primitive>()) {
  with_dnnl_errors(spec, [&] {
    const ThreadCount threads(spec.threads);
    primitive_->spec = spec;
    primitive_->description = describe_matmul(spec);
    primitive_->matmul = dnnl::matmul(primitive_->description.primitive);
    primitive_->scratch = primitive_->description.primitive.scratchpad_desc();
  });
  primitives_created += 1;
}

Matmul::~Matmul() = default;

int64_t Matmul::scratch_bytes() const { return static_cast<int64_t>(primitive_->scratch.get_size()); }

void Matmul::run(const MatmulOperands& operands) const {
  with_dnnl_errors(primitive_->spec, [&] {
    const Description& description = primitive_->description;
    const auto of = [](const memory::desc& desc, const void* data) {
      return memory(desc, cpu_engine(), const_cast<void*>(data));  // oneDNN has no const memory; inputs are only read
    };
    std::unordered_map<int, memory> arguments = {{DNNL_ARG_SRC, of(description.a, operands.a)},
                                                 {DNNL_ARG_WEIGHTS, of(description.b, operands.b)},
                                                 {DNNL_ARG_DST, of(description.c, operands.c)},
                                                 {DNNL_ARG_SCRATCHPAD, of(primitive_->scratch, operands.scratch)}};
    if (primitive_->spec.has_bias) arguments[DNNL_ARG_BIAS] = of(description.bias, operands.bias);
    primitive_->matmul.execute(thread_stream(), arguments);
  });
}

std::shared_ptr<const Matmul> find_matmul(const MatmulSpec& spec) {
  static Kept<std::shared_ptr<const Matmul>> kept;
  return kept.find(spec, [&] { return std::make_shared<const Matmul>(spec); });
}

int64_t matmul_scratch_bytes(const MatmulSpec& spec) {
  static Kept<int64_t> kept;
  return kept.find(spec, [&] { return with_dnnl_errors(spec, [&] { return described_scratch_bytes(spec); }); });
}

std::shared_ptr<const MatmulFamily> find_matmul_family(const MatmulSpec& spec, int64_t MatmulSpec::*axis) {
  static Kept<std::shared_ptr<const MatmulFamily>> kept;
  return kept.find(with_rows(spec, axis, 0), [&] {
    auto family = std::make_shared<MatmulFamily>();
    std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < MatmulFamily::kCount; ++i) {
      try {
        const MatmulSpec member = with_rows(spec, axis, (i + 1) * MatmulFamily::kRowStep);
        family->members_[static_cast<size_t>(i)] = std::make_unique<Matmul>(member);
      } catch (...) {
#pragma omp critical
        failure = std::current_exception();
      }
    }
    if (failure) std::rethrow_exception(failure);
    return std::shared_ptr<const MatmulFamily>(family);
  });
}

int64_t matmul_family_scratch_bytes(const MatmulSpec& spec, int64_t MatmulSpec::*axis) {
  static Kept<int64_t> kept;
  return kept.find(with_rows(spec, axis, 0), [&] {
    return with_dnnl_errors(spec, [&] {
      int64_t most = 0;
      for (int64_t i = 1; i <= MatmulFamily::kCount; ++i)
        most = std::max(most, described_scratch_bytes(with_rows(spec, axis, i * MatmulFamily::kRowStep)));
      return most;
    });
  });
}

}  // namespace cpu
}  // namespace conclave::kernels
