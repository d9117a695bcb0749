#include <cmath>

#include "kernels/attention.h"
#include "kernels/cases/performance_cases.h"

namespace conclave::kernels {
namespace {

struct Size {
  const char* label;
  int64_t batch, heads, groups, length, size;
  int64_t window = 0;
};

void add_attention(std::vector<OpCase>& cases, DType dtype, const Size& s) {
  const Shape q{s.batch, s.heads, s.length, s.size}, k{s.batch, s.groups, s.length, s.size};
  const Shape out{s.length, s.batch, s.heads * s.size}, lse{s.batch, s.heads, s.length};
  const float scale = 1 / std::sqrt(static_cast<float>(s.size));
  const AttentionMask mask{.causal = true, .window = s.window, .document_starts = {}};
  const std::string stem =
      fmt::format("{}_{}_{}x{}x{}x{}x{}", dtype_name(dtype), s.label, s.batch, s.heads, s.groups, s.length, s.size);
  OpCase forward{
      stem + "_forward", {}, [=](const Stream& stream, const OpTensors& t) {
        attention_forward(
            stream,
            {.q = t["q"], .k = t["k"], .v = t["v"], .out = t["out"], .lse = t["lse"], .mask = mask, .scale = scale});
      }};
  forward.input("q", dtype, q, normal()).input("k", dtype, k, normal()).input("v", dtype, k, normal());
  cases.push_back(forward.output("out", dtype, out, {}).output("lse", DType::kF32, lse, {}));

  OpCase backward{stem + "_backward", {}, [=](const Stream& stream, const OpTensors& t) {
                    attention_backward(stream, {.dout = t["dout"],
                                                .q = t["q"],
                                                .k = t["k"],
                                                .v = t["v"],
                                                .out = t["out"],
                                                .lse = t["lse"],
                                                .dq = t["dq"],
                                                .dk = t["dk"],
                                                .dv = t["dv"],
                                                .mask = mask,
                                                .scale = scale});
                  }};
  backward.input("q", dtype, q, normal()).input("k", dtype, k, normal()).input("v", dtype, k, normal());
  backward.input("dout", dtype, out, normal()).input("out", dtype, out, normal());
  backward.input("lse", DType::kF32, lse, constant(6));
  cases.push_back(backward.output("dq", dtype, q, {}).output("dk", dtype, k, {}).output("dv", dtype, k, {}));
}

}  // namespace

std::vector<OpCase> attention_performance_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    add_attention(cases, dtype, {"benchmark", 8, 8, 8, 256, 32});
    add_attention(cases, dtype, {"long", 1, 8, 2, 2048, 64});
    add_attention(cases, dtype, {"wide", 1, 4, 1, 1024, 128});
    add_attention(cases, dtype, {"window", 1, 4, 4, 4096, 64, 256});
  }
  return cases;
}

}  // namespace conclave::kernels
