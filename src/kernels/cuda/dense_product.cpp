#include "kernels/cuda/dense_product.h"

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "kernels/cuda/plain_product.h"
#include "kernels/cuda/shared_library.h"

namespace conclave::kernels::cuda {
namespace {

/// The functions of cuBLASLt that are used here.
struct Functions {
  void* library = need_library("libcublasLt.so.13");
  decltype(&cublasLtCreate) create = find<decltype(&cublasLtCreate)>("cublasLtCreate");
  decltype(&cublasLtGetStatusString) get_status_string =
      find<decltype(&cublasLtGetStatusString)>("cublasLtGetStatusString");
  decltype(&cublasLtMatmul) matmul = find<decltype(&cublasLtMatmul)>("cublasLtMatmul");
  decltype(&cublasLtMatmulAlgoConfigGetAttribute) matmul_algo_config_get_attribute =
      find<decltype(&cublasLtMatmulAlgoConfigGetAttribute)>("cublasLtMatmulAlgoConfigGetAttribute");
  decltype(&cublasLtMatmulAlgoGetHeuristic) matmul_algo_get_heuristic =
      find<decltype(&cublasLtMatmulAlgoGetHeuristic)>("cublasLtMatmulAlgoGetHeuristic");
  decltype(&cublasLtMatmulDescCreate) matmul_desc_create =
      find<decltype(&cublasLtMatmulDescCreate)>("cublasLtMatmulDescCreate");
  decltype(&cublasLtMatmulDescDestroy) matmul_desc_destroy =
      find<decltype(&cublasLtMatmulDescDestroy)>("cublasLtMatmulDescDestroy");
  decltype(&cublasLtMatmulDescSetAttribute) matmul_desc_set_attribute =
      find<decltype(&cublasLtMatmulDescSetAttribute)>("cublasLtMatmulDescSetAttribute");
  decltype(&cublasLtMatmulPreferenceCreate) matmul_preference_create =
      find<decltype(&cublasLtMatmulPreferenceCreate)>("cublasLtMatmulPreferenceCreate");
  decltype(&cublasLtMatmulPreferenceDestroy) matmul_preference_destroy =
      find<decltype(&cublasLtMatmulPreferenceDestroy)>("cublasLtMatmulPreferenceDestroy");
  decltype(&cublasLtMatmulPreferenceSetAttribute) matmul_preference_set_attribute =
      find<decltype(&cublasLtMatmulPreferenceSetAttribute)>("cublasLtMatmulPreferenceSetAttribute");
  decltype(&cublasLtMatrixLayoutCreate) matrix_layout_create =
      find<decltype(&cublasLtMatrixLayoutCreate)>("cublasLtMatrixLayoutCreate");
  decltype(&cublasLtMatrixLayoutDestroy) matrix_layout_destroy =
      find<decltype(&cublasLtMatrixLayoutDestroy)>("cublasLtMatrixLayoutDestroy");

 private:
  template <typename Function>
  Function find(const char* name) const {
    return reinterpret_cast<Function>(library_function(library, name));
  }
};

const Functions& blas() {
  static const Functions functions;
  return functions;
}

void check(cublasStatus_t status, const char* what) {
  CONCLAVE_CHECK(status == CUBLAS_STATUS_SUCCESS, "[kernels/cuda] cuBLASLt, {}: {}", what,
                 blas().get_status_string(status));
}

cudaDataType_t cuda_type(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return CUDA_R_64F;
    case DType::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

bool tf32_is_allowed = false;

cublasComputeType_t compute_type(DType in) {
  if (in == DType::kF64) return CUBLAS_COMPUTE_64F;
  return in == DType::kF32 && tf32_is_allowed ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

/// Deleters for the library's opaque handles.
struct Destroy {
  void operator()(cublasLtMatmulDescOpaque_t* handle) const { blas().matmul_desc_destroy(handle); }
  void operator()(cublasLtMatrixLayoutOpaque_t* handle) const { blas().matrix_layout_destroy(handle); }
  void operator()(cublasLtMatmulPreferenceOpaque_t* handle) const { blas().matmul_preference_destroy(handle); }
};
using Operation = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy>;
using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroy>;

template <typename T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(blas().matmul_desc_set_attribute(operation.get(), attribute, &value, sizeof(value)), "operation");
}
template <typename T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(blas().matmul_preference_set_attribute(preference.get(), attribute, &value, sizeof(value)), "preference");
}

/// The library counts by columns: our row-major [rows, columns] is its matrix of `columns` rows.
Layout layout(DType dtype, int64_t rows, int64_t columns, int64_t leading) {
  cublasLtMatrixLayout_t made = nullptr;
  check(blas().matrix_layout_create(&made, cuda_type(dtype), static_cast<uint64_t>(columns),
                                    static_cast<uint64_t>(rows), leading),
        "layout");
  return Layout(made);
}

/// Bytes that a pointer is a multiple of, up to what kernels care for.
uint32_t alignment(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  return address % 16 == 0 ? 16 : static_cast<uint32_t>(address & (~address + 1));
}

/// Everything that the choice of a kernel depends on.
using Key = std::array<int64_t, 18>;

Key key_of(const DenseProduct& p, bool with_bias, int64_t workspace_bytes) {
  return {p.m,
          p.n,
          p.k,
          p.lda,
          p.ldb,
          p.ldc,
          static_cast<int64_t>(p.in),
          static_cast<int64_t>(p.out),
          p.transpose_a,
          p.transpose_b,
          p.add,
          with_bias,
          alignment(p.a),
          alignment(p.b),
          alignment(p.c),
          with_bias ? alignment(p.bias) : 0,
          tf32_is_allowed,
          workspace_bytes};
}

struct Plan {
  Operation operation;
  Layout a, b, c;
  cublasLtMatmulAlgo_t algorithm = {};
  bool found = false;  ///< or the library has no kernel for this
};

struct Workspace {
  void* memory;
  int64_t bytes;
};

class Library {
 public:
  Library() { check(blas().create(&handle_), "create"); }

  /// False where the library has no kernel for it.
  bool run(const DenseProduct& p, const void* bias, const Workspace& workspace, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    const Plan& plan = plan_of(p, bias, workspace.bytes);
    if (!plan.found) return false;
    if (bias != nullptr) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    const double one = 1, none = 0;
    const float one_f = 1, none_f = 0;
    const bool f64 = p.in == DType::kF64;
    const void* const alpha = f64 ? static_cast<const void*>(&one) : &one_f;
    const void* const beta = f64 ? static_cast<const void*>(p.add ? &one : &none) : (p.add ? &one_f : &none_f);
    check(blas().matmul(handle_, plan.operation.get(), alpha, p.b, plan.b.get(), p.a, plan.a.get(), beta, p.c,
                        plan.c.get(), p.c, plan.c.get(), &plan.algorithm, workspace.memory,
                        static_cast<size_t>(workspace.bytes), stream),
          "matmul");
    return true;
  }

  std::vector<std::string> plans() {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> out;
    for (const auto& [key, plan] : plans_) out.push_back(words(key, plan));
    return out;
  }

 private:
  const Plan& plan_of(const DenseProduct& p, const void* bias, int64_t workspace_bytes) {
    const Key key = key_of(p, bias != nullptr, workspace_bytes);
    const auto found = plans_.find(key);
    return found != plans_.end() ? found->second
                                 : plans_.emplace(key, make_plan(p, bias, workspace_bytes)).first->second;
  }

  // C^T = op(B)^T op(A)^T in the library's columns, so b goes first.
  Plan make_plan(const DenseProduct& p, const void* bias, int64_t workspace_bytes) {
    Plan plan;
    cublasLtMatmulDesc_t made = nullptr;
    check(blas().matmul_desc_create(&made, compute_type(p.in), p.in == DType::kF64 ? CUDA_R_64F : CUDA_R_32F),
          "operation");
    plan.operation.reset(made);
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias != nullptr) {
      set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
      set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, cuda_type(p.in));
    }
    plan.a = p.transpose_a ? layout(p.in, p.k, p.m, p.lda) : layout(p.in, p.m, p.k, p.lda);
    plan.b = p.transpose_b ? layout(p.in, p.n, p.k, p.ldb) : layout(p.in, p.k, p.n, p.ldb);
    plan.c = layout(p.out, p.m, p.n, p.ldc);
    cublasLtMatmulHeuristicResult_t result = {};
    int results = 0;
    const cublasStatus_t status =
        blas().matmul_algo_get_heuristic(handle_, plan.operation.get(), plan.b.get(), plan.a.get(), plan.c.get(),
                                         plan.c.get(), preference(p, workspace_bytes).get(), 1, &result, &results);
    plan.found = status == CUBLAS_STATUS_SUCCESS && results == 1;
    plan.algorithm = result.algo;
    return plan;
  }

  static Preference preference(const DenseProduct& p, int64_t workspace_bytes) {
    cublasLtMatmulPreference_t made = nullptr;
    check(blas().matmul_preference_create(&made), "preference");
    Preference preference(made);
    set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace_bytes));
    // Parts of a sum are added up in the workspace, in a fixed order and in f32. The library rounds such a sum before
    // it adds to it: where that would be one rounding too many, there are no parts.
    const bool in_parts = p.out != DType::kBF16 || p.bias == nullptr;
    set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<uint32_t>(in_parts ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_NONE));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.c));
    set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c));
    return preference;
  }

  static int32_t detail(const Plan& plan, cublasLtMatmulAlgoConfigAttributes_t attribute) {
    int32_t value = 0;
    size_t written = 0;
    blas().matmul_algo_config_get_attribute(&plan.algorithm, attribute, &value, sizeof(value), &written);
    return value;
  }
  static std::string words(const Key& key, const Plan& plan) {
    const std::string sizes =
        fmt::format("{} -> {} m {} n {} k {}{}{}{}{}", dtype_name(static_cast<DType>(key[6])),
                    dtype_name(static_cast<DType>(key[7])), key[0], key[1], key[2], key[8] != 0 ? " a^T" : "",
                    key[9] != 0 ? " b^T" : "", key[10] != 0 ? " added" : "", key[11] != 0 ? " with bias" : "");
    if (!plan.found) return sizes + ": plain arithmetic";
    return fmt::format("{}: algorithm {} tile {} stages {} split {}", sizes, detail(plan, CUBLASLT_ALGO_CONFIG_ID),
                       detail(plan, CUBLASLT_ALGO_CONFIG_TILE_ID), detail(plan, CUBLASLT_ALGO_CONFIG_STAGES_ID),
                       detail(plan, CUBLASLT_ALGO_CONFIG_SPLITK_NUM));
  }

  cublasLtHandle_t handle_ = nullptr;  // never destroyed: the driver may be gone when the process ends
  std::mutex mutex_;
  std::map<Key, Plan> plans_;
};

Library& library() {
  static Library* const one = new Library;
  return *one;
}

PlainProduct plain_of(const DenseProduct& p) {
  PlainProduct plain;
  plain.in = p.in;
  plain.out = p.out;
  plain.a = p.a;
  plain.b = p.b;
  plain.bias = p.bias;
  plain.c = p.c;
  plain.m = p.m;
  plain.n = p.n;
  plain.k = p.k;
  plain.a_row = p.transpose_a ? 1 : p.lda;
  plain.a_sum = p.transpose_a ? p.lda : 1;
  plain.b_sum = p.transpose_b ? 1 : p.ldb;
  plain.b_column = p.transpose_b ? p.ldb : 1;
  plain.c_row = p.ldc;
  plain.add = p.add;
  return plain;
}

void overwrite_or_add(const DenseProduct& p, const Workspace& workspace, cudaStream_t stream) {
  if (library().run(p, p.bias, workspace, stream)) return;
  // A second rounding by a bias of its own launch is one too many for narrow outputs.
  const bool exact_bias = p.bias != nullptr && p.out != DType::kBF16;
  if (exact_bias && library().run(p, nullptr, workspace, stream)) return add_row_bias(plain_of(p), stream);
  plain_product(plain_of(p), stream);
}

/// Adds to bf16: kernels of the library may round a product before they add it to what is there. So products
/// of some rows at a time go to the workspace in f32, and sums are rounded once.
void add_to_narrow(const DenseProduct& p, const Workspace& workspace, cudaStream_t stream) {
  const int64_t library_bytes = workspace.bytes / 4, row_bytes = p.n * static_cast<int64_t>(sizeof(float));
  const int64_t most = (workspace.bytes - library_bytes) / row_bytes;
  if (most == 0) return plain_product(plain_of(p), stream);
  auto* const sums = static_cast<uint8_t*>(workspace.memory) + library_bytes;
  for (int64_t first = 0; first < p.m; first += most) {
    DenseProduct part = p;
    part.out = DType::kF32;
    part.add = false;
    part.m = std::min(most, p.m - first);
    part.a = static_cast<const uint8_t*>(p.a) + first * (p.transpose_a ? 1 : p.lda) * dtype_size(p.in);
    part.c = sums;
    part.ldc = p.n;
    overwrite_or_add(part, {workspace.memory, library_bytes}, stream);
    add_rounded({.sums = reinterpret_cast<const float*>(sums),
                 .c = static_cast<uint8_t*>(p.c) + first * p.ldc * dtype_size(p.out),
                 .rows = part.m,
                 .n = p.n,
                 .c_row = p.ldc},
                stream);
  }
}

}  // namespace

void dense_product(const DenseProduct& p, void* workspace, cudaStream_t stream) {
  if (p.m == 0 || p.n == 0) return;
  if (p.k == 0) return plain_product(plain_of(p), stream);
  CONCLAVE_CHECK(reinterpret_cast<uintptr_t>(workspace) % kDenseWorkspaceAlignment == 0,
                 "[kernels/cuda] the workspace of a product stands at {}", workspace);
  const Workspace whole{workspace, kDenseWorkspaceBytes};
  if (p.out == DType::kBF16 && p.add) {
    add_to_narrow(p, whole, stream);
  } else {
    overwrite_or_add(p, whole, stream);
  }
}

void allow_tf32(bool allowed) { tf32_is_allowed = allowed; }

std::vector<std::string> dense_plans() { return library().plans(); }

}  // namespace conclave::kernels::cuda
