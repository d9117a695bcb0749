// oneDNN products on raw pointers: primitives made once per shape and kept, scratch memory given by the caller.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/dtype.h"
#include "kernels/gemm.h"

namespace conclave::kernels::cpu {

/// C [m,n] (+)= op(A) [m,k] · op(B) [k,n] (+ bias [n]). A and B f32 or bf16; C and bias f32 or bf16. Leading dimensions
/// are those of the stored matrices, in elements.
struct MatmulSpec {
  int64_t m = 0, n = 0, k = 0;
  DType dtype = DType::kF32;  ///< of A and B
  DType c_dtype = DType::kF32;
  Transpose transpose_a = Transpose::kNo, transpose_b = Transpose::kNo;
  int64_t lda = 0, ldb = 0, ldc = 0;
  Accumulate accumulate = Accumulate::kOverwrite;
  bool has_bias = false;
  DType bias_dtype = DType::kF32;
  int threads = 1;  ///< that work on one product; 1 for products inside a parallel region

  bool operator==(const MatmulSpec&) const = default;
};

struct MatmulOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* bias = nullptr;
  void* c = nullptr;
  void* scratch = nullptr;         ///< scratch_bytes(), 64-byte aligned
  const void* next_b = nullptr;    ///< the 64 columns that the same thread multiplies by next, if it knows: a hint
  const void* packed_b = nullptr;  ///< b as pack_right() leaves it, where that was called
};

class Matmul {
 public:
  explicit Matmul(const MatmulSpec& spec);
  ~Matmul();
  Matmul(const Matmul&) = delete;
  Matmul& operator=(const Matmul&) = delete;
  /// Thread-safe as long as scratch differs.
  void run(const MatmulOperands& operands) const;
  int64_t scratch_bytes() const;

 private:
  struct Primitive;
  std::unique_ptr<Primitive> primitive_;
};

/// The kept primitive of a shape; made on first use.
std::shared_ptr<const Matmul> find_matmul(const MatmulSpec& spec);
/// Scratch bytes of a shape, from its description alone: makes no primitive.
int64_t matmul_scratch_bytes(const MatmulSpec& spec);

/// Products whose row count is different every time, as those of experts: one primitive for each multiple of kRowStep
/// up to kMaxRows, all made at once, so that a steady training step makes none.
class MatmulFamily {
 public:
  static constexpr int64_t kRowStep = 16;
  static constexpr int64_t kMaxRows = 512;
  static constexpr int64_t kCount = kMaxRows / kRowStep;
  /// `rows` (a multiple of kRowStep, at most kMaxRows) on the axis that varies.
  const Matmul& of(int64_t rows) const { return *members_[static_cast<size_t>(rows / kRowStep - 1)]; }

 private:
  friend std::shared_ptr<const MatmulFamily> find_matmul_family(const MatmulSpec& spec, int64_t MatmulSpec::*axis);
  std::array<std::unique_ptr<Matmul>, kCount> members_;
};

/// `axis` is &MatmulSpec::m (rows of x) or &MatmulSpec::k (a sum over rows).
std::shared_ptr<const MatmulFamily> find_matmul_family(const MatmulSpec& spec, int64_t MatmulSpec::*axis);
/// Largest scratch of any member.
int64_t matmul_family_scratch_bytes(const MatmulSpec& spec, int64_t MatmulSpec::*axis);

}  // namespace conclave::kernels::cpu
