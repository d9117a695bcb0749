#include "kernels/op_check.h"

#include <algorithm>
#include <cmath>

#include "device/cuda_device.h"

namespace conclave::kernels {
namespace {

constexpr int64_t kGuardElements = 64;
constexpr uint8_t kGuardByte = 0xA5;
constexpr uint8_t kGarbageByte = 0xFF;  // NaN in every float dtype, -1 in the signed ones

class EmptyAllocator final : public Allocator {
 protected:
  std::byte* take(int64_t) override { return nullptr; }
  void give_back(std::byte*, int64_t) override {}
};

/// A device that says it is CUDA and holds nothing: for the answer of an absent CUDA.
class ClaimsToBeCuda final : public Device {
 public:
  ClaimsToBeCuda() : Device(std::make_unique<EmptyAllocator>()) {}
  DeviceKind kind() const override { return DeviceKind::kCuda; }
  std::string name() const override { return "cuda"; }
  Stream default_stream() override { return Stream(*this); }
  Stream make_stream(const std::string&) override { return Stream(*this); }
  void run_on(const Stream&, std::function<void()>) override {}
  std::unique_ptr<Event> make_event() override { return nullptr; }
  void synchronize() override {}
  void copy_from_host(const Stream&, void*, const void*, int64_t) override {}
  void copy_to_host(const Stream&, void*, const void*, int64_t) override {}
};

/// A tensor between guards, `shift` elements off alignment.
class GuardedTensor {
 public:
  GuardedTensor(Device& device, const OpBuffer& buffer, int64_t shift) {
    const int64_t count = buffer.shape.element_count();
    begin_ = kGuardElements + shift;
    whole_ = Tensor::empty(device, {begin_ + count + kGuardElements}, buffer.dtype, {MemoryCategory::kActivations, ""});
    tensor_ = whole_.flat_slice(begin_, count).view(buffer.shape);
    std::vector<uint8_t> bytes(static_cast<size_t>(whole_.bytes()), kGuardByte);
    const auto first = bytes.begin() + begin_ * dtype_size(buffer.dtype);
    std::fill(first, first + tensor_.bytes(), kGarbageByte);
    device.copy_from_host(device.default_stream(), whole_.raw(), bytes.data(), whole_.bytes());
  }
  const Tensor& tensor() const { return tensor_; }
  /// Elements away from the buffer (negative: before it) of the first guard byte that was written over.
  std::optional<int64_t> overrun() const {
    const std::vector<uint8_t> bytes = bytes_of(whole_);
    const int64_t element = dtype_size(whole_.dtype());
    const int64_t end = begin_ + tensor_.element_count();
    for (int64_t i = 0; i < whole_.bytes(); ++i) {
      const int64_t at = i / element;
      if ((at < begin_ || at >= end) && bytes[static_cast<size_t>(i)] != kGuardByte)
        return at < begin_ ? at - begin_ : at - end;
    }
    return std::nullopt;
  }
  std::vector<uint8_t> bytes() const { return bytes_of(tensor_); }

 private:
  static std::vector<uint8_t> bytes_of(const Tensor& tensor) {
    std::vector<uint8_t> bytes(static_cast<size_t>(tensor.bytes()));
    tensor.device().copy_to_host(tensor.device().default_stream(), bytes.data(), tensor.raw(), tensor.bytes());
    return bytes;
  }

  Tensor whole_, tensor_;
  int64_t begin_ = 0;
};

std::string coordinate(const Shape& shape, int64_t flat) {
  std::string out;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    const int64_t size = shape[axis];
    out = fmt::format("{}{}{}", flat % size, out.empty() ? "" : ", ", out);
    flat /= size;
  }
  return "[" + out + "]";
}

std::optional<std::string> compare(const OpBuffer& buffer, const std::vector<double>& got, OpValues& values) {
  const std::vector<double>& want = values[buffer.name];
  const double* const slack = values.data(slack_of(buffer.name));

  int64_t bad = 0, first = -1;
  for (size_t i = 0; i < got.size(); ++i) {
    const double more = slack != nullptr ? slack[i] : 0;
    const double limit = buffer.tolerance.absolute + buffer.tolerance.relative * std::fabs(want[i]) + more;
    // Written so that NaN on either side is bad; infinities must be equal.
    const bool good = std::isfinite(want[i]) ? std::fabs(got[i] - want[i]) <= limit : got[i] == want[i];
    if (good) continue;
    if (first < 0) first = static_cast<int64_t>(i);
    bad += 1;
  }
  if (bad == 0) return std::nullopt;
  const auto at = static_cast<size_t>(first);
  return fmt::format(
      "{}{} = {:.9g}, reference says {:.9g}; difference {:.3g}, tolerance {:.3g} + {:.3g} relative; {} of {} "
      "elements are off",
      buffer.name, coordinate(buffer.shape, first), std::isnan(got[at]) ? std::fabs(got[at]) : got[at], want[at],
      got[at] - want[at], buffer.tolerance.absolute + (slack != nullptr ? slack[at] : 0), buffer.tolerance.relative,
      bad, got.size());
}

using GuardedTensors = std::map<std::string, std::unique_ptr<GuardedTensor>>;

using Inputs = std::map<std::string, std::vector<double>>;

Inputs inputs_of(const OpCase& op_case) {
  Inputs out;
  for (const OpBuffer& buffer : op_case.buffers)
    if (buffer.role != BufferRole::kOutput) out[buffer.name] = buffer_values(op_case, buffer);
  return out;
}

GuardedTensors make_guarded(const OpCase& op_case, const Inputs& inputs, Device& device, int64_t shift) {
  GuardedTensors out;
  for (const OpBuffer& buffer : op_case.buffers) {
    auto guarded = std::make_unique<GuardedTensor>(device, buffer, shift);
    if (buffer.role != BufferRole::kOutput) write_values(guarded->tensor(), inputs.at(buffer.name));
    out[buffer.name] = std::move(guarded);
  }
  return out;
}

OpTensors tensors_of(const GuardedTensors& guarded) {
  OpTensors out;
  for (const auto& [name, one] : guarded) out.set(name, one->tensor());
  return out;
}

OpValues reference_values(const CheckedCase& checked) {
  OpValues values;
  for (const OpBuffer& buffer : checked.op.buffers) {
    if (buffer.role == BufferRole::kOutput) {
      values.set(buffer.name, std::vector<double>(static_cast<size_t>(buffer.shape.element_count()), 0.0));
    } else {
      values.set(buffer.name, buffer_values(checked.op, buffer));
    }
  }
  checked.reference(values);
  return values;
}

std::optional<std::string> check_run(const CheckedCase& checked, OpValues& want, Device& device, int64_t shift) {
  const Inputs inputs = inputs_of(checked.op);
  const GuardedTensors guarded = make_guarded(checked.op, inputs, device, shift);
  std::map<std::string, std::vector<uint8_t>> before;
  for (const auto& [name, one] : guarded) before[name] = one->bytes();
  checked.op.run(device.default_stream(), tensors_of(guarded));
  for (const OpBuffer& buffer : checked.op.buffers) {
    const GuardedTensor& one = *guarded.at(buffer.name);
    if (const auto at = one.overrun())
      return fmt::format("{}: memory outside the buffer was written, {} elements {} it", buffer.name, std::abs(*at),
                         *at < 0 ? "before" : "after");
    if (buffer.role == BufferRole::kInput) {
      if (one.bytes() != before[buffer.name]) return fmt::format("{}: an input was changed", buffer.name);
    } else if (auto text = compare(buffer, read_values(one.tensor()), want)) {
      return text;
    }
  }
  // On a GPU blocks of a launch come in any order: what depends on it shows in some runs only.
  const int repeats = device.kind() == DeviceKind::kCuda ? 10 : 1;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const GuardedTensors again = make_guarded(checked.op, inputs, device, shift);
    checked.op.run(device.default_stream(), tensors_of(again));
    for (const OpBuffer& buffer : checked.op.buffers)
      if (again.at(buffer.name)->bytes() != guarded.at(buffer.name)->bytes())
        return fmt::format("{}: another run gave other bits", buffer.name);
  }
  return std::nullopt;
}

double weighted_outputs(const GradientCase& gradient, OpValues& values) {
  for (const auto& [name, count] : gradient.outputs)
    values.set(name, std::vector<double>(static_cast<size_t>(count), 0.0));
  gradient.forward(values);
  double total = 0;
  for (const auto& [name, count] : gradient.outputs)
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) total += values[name][i] * values["d" + name][i];
  return total;
}

/// Central difference with one Richardson step: the error is of order h^4.
double difference_quotient(const GradientCase& gradient, OpValues& values, double& x) {
  const double centre = x;
  const double h = 1e-3 * std::max(1.0, std::fabs(centre));
  const auto central = [&](double step) {
    x = centre + step;
    const double above = weighted_outputs(gradient, values);
    x = centre - step;
    const double below = weighted_outputs(gradient, values);
    x = centre;
    return (above - below) / (2 * step);
  };
  return (4 * central(h / 2) - central(h)) / 3;
}

}  // namespace

std::vector<double>& OpValues::operator[](const std::string& name) {
  const auto found = lists_.find(name);
  CONCLAVE_CHECK(found != lists_.end(), "the case has no values '{}'", name);
  return found->second;
}

double* OpValues::data(const std::string& name) { return has(name) ? (*this)[name].data() : nullptr; }

std::optional<std::string> check_against_reference(const CheckedCase& checked, const std::string& filter,
                                                   Device* device) {
  const std::unique_ptr<Device> cpu = device == nullptr ? make_device("cpu") : nullptr;
  Device& place = device == nullptr ? *cpu : *device;
  OpValues want = reference_values(checked);
  for (const OpBuffer& buffer : checked.op.buffers)
    for (const double value : want[buffer.name])
      if (std::isnan(value))
        return fmt::format("{}: the reference itself has NaN in {}{}", checked.op.name, buffer.name, filter);
  for (const int64_t shift : {int64_t{0}, int64_t{1}})
    if (auto text = check_run(checked, want, place, shift))
      return fmt::format("{} ({} buffers): {}{}", checked.op.name, shift == 0 ? "aligned" : "unaligned", *text, filter);
  return std::nullopt;
}

std::optional<std::string> check_support(const OpCase& op_case) {
  const OpFootprint simulated = footprint(op_case);
  const bool something = std::none_of(op_case.buffers.begin(), op_case.buffers.end(),
                                      [](const OpBuffer& buffer) { return buffer.shape.element_count() == 0; });
  if (something && !(simulated.cost.bytes > 0)) return op_case.name + ": sim books no bytes";
  if (!(simulated.cost.flops >= 0)) return op_case.name + ": sim books negative or NaN FLOPs";

  const std::unique_ptr<Device> device = make_device("cpu");
  const OpTensors tensors = make_tensors(op_case, *device);
  device->allocator().reset_peak();
  const int64_t held = device->allocator().statistics().peak_total;
  op_case.run(device->default_stream(), tensors);
  const int64_t taken = device->allocator().statistics().peak_total - held;
  if (taken != simulated.workspace_bytes)
    return fmt::format("{}: cpu takes {} bytes of workspace and sim {}", op_case.name, taken,
                       simulated.workspace_bytes);

  if (cuda_is_built_in()) return std::nullopt;
  ClaimsToBeCuda cuda;
  try {
    op_case.run(Stream(cuda), tensors);
    return op_case.name + ": runs on a CUDA device that is not there";
  } catch (const UserError& error) {
    if (std::string(error.what()).find("[kernels/") != 0)
      return fmt::format("{}: the absent CUDA form does not name its op: {}", op_case.name, error.what());
  }
  return std::nullopt;
}

std::optional<std::string> check_gradient(const GradientCase& gradient, const std::string& filter) {
  OpValues values;
  for (const auto& input : gradient.inputs) {
    values.set(input.name, input.fill(input.count, gradient.name + "/" + input.name));
    values.set("d" + input.name, std::vector<double>(static_cast<size_t>(input.count), 0.0));
  }
  for (const auto& [name, count] : gradient.outputs)
    values.set("d" + name, normal()(count, gradient.name + "/d" + name));
  const double objective = weighted_outputs(gradient, values);
  gradient.backward(values);
  for (const auto& input : gradient.inputs) {
    if (!input.differentiate) continue;
    const std::vector<double>& got = values["d" + input.name];
    double size = 0;
    for (const double value : got) size += std::fabs(value) / static_cast<double>(got.size());
    for (size_t i = 0; i < got.size(); ++i) {
      const double want = difference_quotient(gradient, values, values[input.name][i]);
      const double limit = gradient.tolerance * std::max(std::fabs(want), size) + 1e-12 * (1 + std::fabs(objective));
      if (!(std::fabs(got[i] - want) <= limit))
        return fmt::format("{}: d{}[{}] = {:.12g}, finite difference says {:.12g}; tolerance {:.3g}{}", gradient.name,
                           input.name, i, got[i], want, limit, filter);
    }
  }
  return std::nullopt;
}

std::string this_test_filter() {
  const ::testing::TestInfo* info = ::testing::UnitTest::GetInstance()->current_test_info();
  return fmt::format("; --gtest_filter='{}.{}'", info->test_suite_name(), info->name());
}

TEST_P(OpCheck, MatchesReference) {
  const auto text = check_against_reference(GetParam(), this_test_filter());
  EXPECT_FALSE(text) << *text;
}

TEST_P(OpCheck, IsSupported) {
  const auto text = check_support(GetParam().op);
  EXPECT_FALSE(text) << *text;
}

TEST_P(GradientCheck, MatchesFiniteDifferences) {
  const auto text = check_gradient(GetParam(), this_test_filter());
  EXPECT_FALSE(text) << *text;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(OpCheck);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GradientCheck);

}  // namespace conclave::kernels
