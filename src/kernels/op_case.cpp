#include "kernels/op_case.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/philox.h"

namespace conclave::kernels {
namespace {

double epsilon_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return 0x1p-53;
    case DType::kF32:
      return 0x1p-24;
    case DType::kBF16:
      return 0x1p-8;
    case DType::kF16:
      return 0x1p-11;
    default:
      return 0;
  }
}

/// Calls body(T{}) for the C++ type of a dtype that cases use.
template <typename Body>
void with_type(DType dtype, Body body) {
  switch (dtype) {
    case DType::kF64:
      return body(double{});
    case DType::kF32:
      return body(float{});
    case DType::kBF16:
      return body(BF16{});
    case DType::kI64:
      return body(int64_t{});
    case DType::kI32:
      return body(int32_t{});
    case DType::kU8:
      return body(uint8_t{});
    default:
      CONCLAVE_CHECK(false, "op cases hold f64 f32 bf16 i64 i32 u8, not {}", dtype_name(dtype));
  }
}

template <typename T>
T to_type(double value) {
  if constexpr (std::is_same_v<T, BF16>) {
    return to_bf16(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
double from_type(T value) {
  if constexpr (std::is_same_v<T, BF16>) {
    return to_float(value);
  } else {
    return static_cast<double>(value);
  }
}

}  // namespace

Tolerance rounding(DType dtype, double ulps, double scale) {
  const double epsilon = epsilon_of(dtype);
  return {ulps * epsilon, ulps * epsilon * scale};
}

Tolerance sum_rounding(DType dtype, int64_t terms) {
  const double inner = dtype == DType::kF64 ? 0x1p-53 : 0x1p-24;
  const double outer = epsilon_of(dtype);
  const double length = static_cast<double>(std::max<int64_t>(terms, 1));
  return {1.01 * outer + 4 * inner, 8 * inner * length};
}

Fill normal(double mean, double deviation) {
  return [=](int64_t count, std::string_view seed) {
    const RandomStream source(1, seed);
    std::vector<double> out(static_cast<size_t>(count));
    for (size_t i = 0; i < out.size(); ++i) out[i] = mean + deviation * static_cast<double>(source.normal(i));
    return out;
  };
}

Fill uniform(double low, double high) {
  return [=](int64_t count, std::string_view seed) {
    const RandomStream source(1, seed);
    std::vector<double> out(static_cast<size_t>(count));
    for (size_t i = 0; i < out.size(); ++i) out[i] = low + (high - low) * static_cast<double>(source.uniform(i));
    return out;
  };
}

Fill integers(int64_t low, int64_t high) {
  return [=](int64_t count, std::string_view seed) {
    const RandomStream source(1, seed);
    std::vector<double> out(static_cast<size_t>(count));
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<double>(low + static_cast<int64_t>(source.bits(i)) % (high - low));
    return out;
  };
}

Fill constant(double value) {
  return [=](int64_t count, std::string_view) { return std::vector<double>(static_cast<size_t>(count), value); };
}

Fill values(std::vector<double> list) {
  return [list = std::move(list)](int64_t count, std::string_view seed) {
    CONCLAVE_CHECK_EQ(static_cast<int64_t>(list.size()), count, "listed values of {}", seed);
    return list;
  };
}

const Tensor& OpTensors::operator[](const std::string& name) const {
  const auto found = tensors_.find(name);
  CONCLAVE_CHECK(found != tensors_.end(), "the case has no buffer '{}'", name);
  return found->second;
}

Tensor OpTensors::optional(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? Tensor() : found->second;
}

OpCase& OpCase::input(std::string buffer, DType dtype, Shape shape, Fill fill) {
  buffers.push_back({std::move(buffer), BufferRole::kInput, dtype, shape, std::move(fill), {}});
  return *this;
}

OpCase& OpCase::output(std::string buffer, DType dtype, Shape shape, Tolerance tolerance) {
  buffers.push_back({std::move(buffer), BufferRole::kOutput, dtype, shape, {}, tolerance});
  return *this;
}

OpCase& OpCase::in_out(std::string buffer, DType dtype, Shape shape, Fill fill, Tolerance tolerance) {
  buffers.push_back({std::move(buffer), BufferRole::kInOut, dtype, shape, std::move(fill), tolerance});
  return *this;
}

std::vector<double> buffer_values(const OpCase& op_case, const OpBuffer& buffer) {
  std::vector<double> out = buffer.fill(buffer.shape.element_count(), op_case.name + "/" + buffer.name);
  with_type(buffer.dtype, [&](auto zero) {
    for (double& value : out) value = from_type(to_type<decltype(zero)>(value));
  });
  return out;
}

void write_values(const Tensor& tensor, const std::vector<double>& values) {
  CONCLAVE_CHECK_EQ(static_cast<int64_t>(values.size()), tensor.element_count(), "values of a tensor");
  with_type(tensor.dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> typed(values.size());
    for (size_t i = 0; i < values.size(); ++i) typed[i] = to_type<T>(values[i]);
    copy_from_host<T>(tensor.device().default_stream(), tensor, typed);
  });
}

std::vector<double> read_values(const Tensor& tensor) {
  std::vector<double> out(static_cast<size_t>(tensor.element_count()));
  with_type(tensor.dtype(), [&](auto zero) {
    const auto typed = to_host<decltype(zero)>(tensor.device().default_stream(), tensor);
    for (size_t i = 0; i < out.size(); ++i) out[i] = from_type(typed[i]);
  });
  return out;
}

OpTensors make_tensors(const OpCase& op_case, Device& device) {
  OpTensors tensors;
  for (const OpBuffer& buffer : op_case.buffers) {
    const Tensor tensor =
        Tensor::empty(device, buffer.shape, buffer.dtype, {MemoryCategory::kActivations, "op case buffer"});
    if (tensor.raw() != nullptr) {
      if (buffer.fill) {
        write_values(tensor, buffer_values(op_case, buffer));
      } else {
        write_values(tensor, std::vector<double>(static_cast<size_t>(tensor.element_count()), 0.0));
      }
    }
    tensors.set(buffer.name, tensor);
  }
  return tensors;
}

OpFootprint footprint(const OpCase& op_case) {
  const std::unique_ptr<Device> device = make_device("sim");
  const OpTensors tensors = make_tensors(op_case, *device);
  device->allocator().reset_peak();
  const int64_t held = device->allocator().statistics().peak_total;
  op_case.run(device->default_stream(), tensors);
  return {device->ledger().total(), device->allocator().statistics().peak_total - held};
}

OpTiming time_case(const OpCase& op_case, Device& device, double seconds) {
  const OpTensors tensors = make_tensors(op_case, device);
  const Stream stream = device.default_stream();
  std::vector<double> times;
  op_case.run(stream, tensors);
  device.synchronize();
  const Stopwatch total;
  while (times.size() < 3 || total.seconds() < seconds) {
    const Stopwatch watch;
    op_case.run(stream, tensors);
    device.synchronize();
    times.push_back(watch.seconds());
  }
  std::sort(times.begin(), times.end());
  return {times.front(), times[times.size() / 2], static_cast<int64_t>(times.size())};
}

}  // namespace conclave::kernels
