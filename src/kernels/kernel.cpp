#include "kernels/kernel.h"

namespace conclave::kernels {

std::string describe(const Tensor& tensor) {
  return tensor.defined() ? fmt::format("{} {}", dtype_name(tensor.dtype()), tensor.shape().to_string()) : "nothing";
}

void check_tensor(const char* op, const char* name, const Tensor& tensor, const Shape& shape, DType dtype) {
  CONCLAVE_CHECK(tensor.defined() && tensor.shape() == shape && tensor.dtype() == dtype,
                 "[kernels/{}] {} must be {} {}; got {}", op, name, dtype_name(dtype), shape.to_string(),
                 describe(tensor));
}

void check_stream(const char* op, const Stream& stream) {
  CONCLAVE_CHECK(stream.is_default() || stream.device().kind() == DeviceKind::kCuda,
                 "[kernels/{}] runs on the default stream of {} only", op, stream.device().name());
}

void throw_without_cuda(const char* op) {
  throw_user(
      fmt::format("[kernels/{}] has no CUDA form in this program; use --device cpu, or build the `cuda` preset", op));
}

}  // namespace conclave::kernels
