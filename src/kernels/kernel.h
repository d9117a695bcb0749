// What every op shares: where it runs and what it costs.
//
// One op, one stem: `<op>.h` declares Args (tensors with their shapes), the launcher, `<op>_cost`; `<op>.cpp` checks
// shapes and dtypes, takes workspace and picks the back end; `ref/<op>.h` is scalar truth, templated on float and
// double; `cpu/<op>.cpp` is threaded and vectorised; `sim/<op>.cpp` books the cost; `cuda/<op>.cu` (or `no_cuda/`) is
// what GPUs run.
#pragma once

#include "base/error.h"
#include "device/device.h"
#include "tensor/tensor.h"

namespace conclave::kernels {

/// Whether an output is replaced or added to.
enum class Accumulate { kOverwrite, kAdd };

/// Calls BACKEND::op(stream, args) for the stream's device. Each name must exist in cpu, sim and cuda (or no_cuda): a
/// forgotten one fails to link.
#define CONCLAVE_KERNEL_DISPATCH(op, stream, args)  \
  do {                                              \
    ::conclave::kernels::check_stream(#op, stream); \
    switch ((stream).device().kind()) {             \
      case ::conclave::DeviceKind::kCpu:            \
        cpu::op((stream), (args));                  \
        break;                                      \
      case ::conclave::DeviceKind::kSim:            \
        sim::op((stream), (args));                  \
        break;                                      \
      case ::conclave::DeviceKind::kCuda:           \
        cuda::op((stream), (args));                 \
        break;                                      \
    }                                               \
  } while (false)

/// Declares the three back ends of an op in the current namespace.
#define CONCLAVE_KERNEL_BACKENDS(op, Args)         \
  namespace cpu {                                  \
  void op(const Stream& stream, const Args& args); \
  }                                                \
  namespace sim {                                  \
  void op(const Stream& stream, const Args& args); \
  }                                                \
  namespace cuda {                                 \
  void op(const Stream& stream, const Args& args); \
  }

/// The `sim` twin of an op: books its cost. One line in sim/<op>.cpp, inside namespace conclave::kernels.
#define CONCLAVE_SIM_KERNEL(op, Args)                                                                     \
  namespace sim {                                                                                         \
  void op(const Stream& stream, const Args& args) { stream.device().ledger().add(#op, op##_cost(args)); } \
  }

/// The twin of a CUDA kernel where CUDA is not built in. One line in no_cuda/<op>.cpp, inside namespace
/// conclave::kernels.
#define CONCLAVE_NO_CUDA_KERNEL(op, Args)                          \
  namespace cuda {                                                 \
  void op(const Stream&, const Args&) { throw_without_cuda(#op); } \
  }
[[noreturn]] void throw_without_cuda(const char* op);

/// Kernels of cpu and sim are done on return: they may not be given a side stream, whose work may be behind.
void check_stream(const char* op, const Stream& stream);

/// Throws unless `tensor` has this shape and dtype: "[kernels/gemm] c must be f32 [3, 5]; got bf16 [3, 4]".
void check_tensor(const char* op, const char* name, const Tensor& tensor, const Shape& shape, DType dtype);
/// "bf16 [3, 4]", or "nothing".
std::string describe(const Tensor& tensor);

}  // namespace conclave::kernels
