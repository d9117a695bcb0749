// One row of an op's table of cases: the tensors of one call and the call. Tests, support checks and `conclave bench
// op` all read such rows; FLOPs and bytes come from running the row on `sim`.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kernel.h"

namespace conclave::kernels {

/// What the launched op may do to a buffer.
enum class BufferRole {
  kInput,   ///< must be left as it is
  kOutput,  ///< written whole, whatever stood there
  kInOut,   ///< its values matter and it is changed (added to, or in place)
};

/// |got - want| <= absolute + relative * |want|. Belongs to the buffer, never to the assertion.
struct Tolerance {
  double relative = 0;
  double absolute = 0;
};

/// Exact: integers, copies.
inline Tolerance exact() { return {}; }
/// `ulps` rounding errors of the dtype, relative, and as many of a value of size `scale`.
Tolerance rounding(DType dtype, double ulps = 4, double scale = 1);
/// For sums of `terms` products of values of size about 1, summed in f32 (f64 for f64) and stored as `dtype`.
Tolerance sum_rounding(DType dtype, int64_t terms);

/// Makes `count` values; `seed` differs from buffer to buffer.
using Fill = std::function<std::vector<double>(int64_t count, std::string_view seed)>;
Fill normal(double mean = 0, double deviation = 1);
Fill uniform(double low = 0, double high = 1);
Fill integers(int64_t low, int64_t high);  ///< in [low, high)
Fill constant(double value);
Fill values(std::vector<double> list);

struct OpBuffer {
  std::string name;
  BufferRole role = BufferRole::kInput;
  DType dtype = DType::kF32;
  Shape shape;
  Fill fill;  ///< kInput and kInOut
  Tolerance tolerance;
};

/// The tensors of a call, by the names of its buffers.
class OpTensors {
 public:
  void set(const std::string& name, Tensor tensor) { tensors_[name] = std::move(tensor); }
  const Tensor& operator[](const std::string& name) const;
  /// Undefined where the case has no such buffer: optional arguments.
  Tensor optional(const std::string& name) const;

 private:
  std::map<std::string, Tensor> tensors_;
};

struct OpCase {
  std::string name;  ///< "bf16_nt_2048x768x256"; letters, digits and _ only
  std::vector<OpBuffer> buffers;
  std::function<void(const Stream&, const OpTensors&)> run;

  OpCase& input(std::string buffer, DType dtype, Shape shape, Fill fill);
  OpCase& output(std::string buffer, DType dtype, Shape shape, Tolerance tolerance);
  OpCase& in_out(std::string buffer, DType dtype, Shape shape, Fill fill, Tolerance tolerance);
};

/// The values of `buffer` in case `name`, as its dtype holds them.
std::vector<double> buffer_values(const OpCase& op_case, const OpBuffer& buffer);
/// Writes values, rounded to the tensor's dtype, into a tensor, and reads them.
void write_values(const Tensor& tensor, const std::vector<double>& values);
std::vector<double> read_values(const Tensor& tensor);

/// Tensors of a case on a device, filled (where the device holds data).
OpTensors make_tensors(const OpCase& op_case, Device& device);

/// FLOPs, bytes and peak workspace of one call: runs it on `sim`.
struct OpFootprint {
  Cost cost;
  int64_t workspace_bytes = 0;
};
OpFootprint footprint(const OpCase& op_case);

/// Times calls on `device` until `seconds` have passed (at least three calls, the first apart).
struct OpTiming {
  double best_seconds = 0, median_seconds = 0;
  int64_t calls = 0;
};
OpTiming time_case(const OpCase& op_case, Device& device, double seconds);

/// Cases for speed, by op: what `conclave bench op NAME` runs.
struct OpFamily {
  std::string name;
  std::vector<OpCase> cases;
};
std::vector<OpFamily> performance_table();

}  // namespace conclave::kernels
