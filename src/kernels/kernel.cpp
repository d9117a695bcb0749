#include "kernels/kernel.h"

#include "kernels/op_watch.h"

namespace conclave::kernels {
namespace {

thread_local OpWatch* watch_of_thread = nullptr;

}  // namespace

WatchedOps::WatchedOps(OpWatch& watch) : before_(watch_of_thread) { watch_of_thread = &watch; }
bool ops_are_watched() { return watch_of_thread != nullptr; }
WatchedOps::~WatchedOps() { watch_of_thread = before_; }

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
  if (watch_of_thread != nullptr) watch_of_thread->begins(stream, op);
}

void throw_without_cuda(const char* op) {
  throw_user(
      fmt::format("[kernels/{}] has no CUDA form in this program; use --device cpu, or build the `cuda` preset", op));
}

}  // namespace conclave::kernels
