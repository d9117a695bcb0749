// What kernels cost: FLOPs and bytes moved, by op. The simulator's clock, the benchmark's roofline and the trainer's
// TFLOP/s read it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace conclave {

/// FLOPs count multiply and add as two; bytes are those that must be read and written once.
struct Cost {
  double flops = 0;
  double bytes = 0;
  Cost& operator+=(const Cost& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
};

class CostLedger {
 public:
  void add(const char* op, const Cost& cost) {
    total_ += cost;
    if (by_op_on_) by_op_[op] += cost;
  }
  const Cost& total() const { return total_; }
  const std::map<std::string, Cost, std::less<>>& by_op() const { return by_op_; }
  void track_by_op(bool on) { by_op_on_ = on; }
  void reset() {
    total_ = {};
    by_op_.clear();
  }

 private:
  Cost total_;
  bool by_op_on_ = false;
  std::map<std::string, Cost, std::less<>> by_op_;
};

}  // namespace conclave
