// How ops are tested: a table of cases per family, each put through
//   test     cpu, and the GPU where there is one, against ref in double: aligned and unaligned buffers, guard bytes,
//   inputs
//            untouched, same bits again;
//   support  sim books a cost, takes the workspace that cpu takes and touches nothing; the absent CUDA names the op;
//   grad     ref's backward against finite differences of ref's forward, in double.
// A family's test file ends in
//   INSTANTIATE_TEST_SUITE_P(Gemm, OpCheck, ::testing::ValuesIn(gemm_checks()), case_name);
//   INSTANTIATE_TEST_SUITE_P(Gemm, GradientCheck, ::testing::ValuesIn(gemm_gradients()), gradient_name);
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/op_case.h"

namespace conclave::kernels {

/// Values of named buffers in double; integers stand there as doubles too.
class OpValues {
 public:
  void set(const std::string& name, std::vector<double> list) { lists_[name] = std::move(list); }
  std::vector<double>& operator[](const std::string& name);
  bool has(const std::string& name) const { return lists_.count(name) != 0; }
  /// Pointer to a buffer's values, null where there is no such buffer: optional arguments.
  double* data(const std::string& name);
  /// A copy in another type: labels, offsets.
  template <typename T>
  std::vector<T> as(const std::string& name) {
    const std::vector<double>& list = (*this)[name];
    return std::vector<T>(list.begin(), list.end());
  }

 private:
  std::map<std::string, std::vector<double>> lists_;
};

/// The values under which a reference leaves how much more than its tolerance each element of an output may be off:
/// what rounding costs that depends on the element's own terms.
inline std::string slack_of(const std::string& output) { return output + ".slack"; }

struct CheckedCase {
  OpCase op;
  /// Computes every output from the inputs. Outputs are there with their size: kOutput as zeros, kInOut as given. May
  /// leave slack_of(output).
  std::function<void(OpValues&)> reference;
};

struct GradientCase {
  std::string name;
  struct Input {
    std::string name;
    int64_t count = 0;
    Fill fill;
    bool differentiate = true;
  };
  std::vector<Input> inputs;
  std::map<std::string, int64_t> outputs;   ///< name -> count
  std::function<void(OpValues&)> forward;   ///< fills the outputs
  std::function<void(OpValues&)> backward;  ///< from "d" + output to "d" + input (there as zeros)
  double tolerance = 1e-6;                  ///< relative to the gradient's own size
};

/// What is wrong, or nothing. `filter` is how to run just this case; device null: the CPU.
std::optional<std::string> check_against_reference(const CheckedCase& checked, const std::string& filter = "",
                                                   Device* device = nullptr);
std::optional<std::string> check_support(const OpCase& op_case);
std::optional<std::string> check_gradient(const GradientCase& gradient, const std::string& filter = "");

/// "; --gtest_filter='...'" for the test that is running.
std::string this_test_filter();

class OpCheck : public ::testing::TestWithParam<CheckedCase> {};
class GradientCheck : public ::testing::TestWithParam<GradientCase> {};
inline std::string case_name(const ::testing::TestParamInfo<CheckedCase>& info) { return info.param.op.name; }
inline std::string gradient_name(const ::testing::TestParamInfo<GradientCase>& info) { return info.param.name; }
// What a failing parameter is called in GoogleTest's own text.
inline void PrintTo(const CheckedCase& checked, std::ostream* out) { *out << checked.op.name; }
inline void PrintTo(const GradientCase& gradient, std::ostream* out) { *out << gradient.name; }

}  // namespace conclave::kernels
