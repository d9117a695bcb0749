// The ops between the products of a layer, at the benchmark's sizes: all bound by memory.
#include <cmath>

#include "kernels/activation.h"
#include "kernels/cases/performance_cases.h"
#include "kernels/dropout.h"
#include "kernels/embedding.h"
#include "kernels/norm.h"
#include "kernels/permute.h"
#include "kernels/qkv.h"
#include "kernels/rope.h"

namespace conclave::kernels {
namespace {

constexpr int64_t kB = 8, kS = 256, kT = kB * kS, kH = 256, kF = 512, kE = 16, kK = 2, kP = kT * kK, kN = 8, kD = 32,
                  kV = 8192;

OpCase op_case(DType dtype, const char* name, std::function<void(const Stream&, const OpTensors&)> run) {
  return {fmt::format("{}_{}", dtype_name(dtype), name), {}, std::move(run)};
}

}  // namespace

std::vector<OpCase> norm_performance_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const NormKind kind : {NormKind::kRms, NormKind::kLayer}) {
      const bool layer = kind == NormKind::kLayer;
      OpCase forward =
          op_case(dtype, layer ? "layer_forward" : "rms_forward", [=](const Stream& s, const OpTensors& t) {
            norm_forward(s, {kind, t["x"], t["w"], t.optional("b"), t["y"], t.optional("mean"), t["rstd"]});
          });
      forward.input("x", dtype, {kT, kH}, normal()).input("w", dtype, {kH}, normal());
      forward.output("y", dtype, {kT, kH}, {}).output("rstd", DType::kF32, {kT}, {});
      if (layer) forward.input("b", dtype, {kH}, normal()).output("mean", DType::kF32, {kT}, {});
      cases.push_back(forward);
      OpCase backward =
          op_case(dtype, layer ? "layer_backward" : "rms_backward", [=](const Stream& s, const OpTensors& t) {
            norm_backward(
                s, {kind, t["dy"], t["x"], t["w"], t.optional("mean"), t["rstd"], t["dx"], t["dw"], t.optional("db")});
          });
      backward.input("dy", dtype, {kT, kH}, normal()).input("x", dtype, {kT, kH}, normal());
      backward.input("w", dtype, {kH}, normal()).input("rstd", DType::kF32, {kT}, constant(1));
      backward.output("dx", dtype, {kT, kH}, {}).in_out("dw", DType::kF32, {kH}, constant(0), {});
      if (layer)
        backward.input("mean", DType::kF32, {kT}, constant(0)).in_out("db", DType::kF32, {kH}, constant(0), {});
      cases.push_back(backward);
    }
  }
  return cases;
}

std::vector<OpCase> activation_performance_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const ActivationKind kind : {ActivationKind::kSwiGlu, ActivationKind::kGeGlu, ActivationKind::kGelu}) {
      const int64_t width = is_gated(kind) ? 2 * kF : kF;
      const std::string name(activation_name(kind));
      OpCase forward = op_case(dtype, (name + "_forward").c_str(), [=](const Stream& s, const OpTensors& t) {
        activation_forward(s, {kind, t["x"], t["y"], t["w"]});
      });
      forward.input("x", dtype, {kP, width}, normal()).input("w", DType::kF32, {kP}, uniform());
      cases.push_back(forward.output("y", dtype, {kP, kF}, {}));
      OpCase backward = op_case(dtype, (name + "_backward").c_str(), [=](const Stream& s, const OpTensors& t) {
        activation_backward(s, {kind, t["dy"], t["x"], t["dx"], t["w"], t["dw"]});
      });
      backward.input("x", dtype, {kP, width}, normal()).input("w", DType::kF32, {kP}, uniform());
      backward.input("dy", dtype, {kP, kF}, normal()).output("dx", dtype, {kP, width}, {});
      cases.push_back(backward.output("dw", DType::kF32, {kP}, {}));
    }
  }
  return cases;
}

std::vector<OpCase> heads_performance_cases() {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < kD / 2; ++i)
    frequencies.push_back(std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(kD)));
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Shape head{kB, kN, kS, kD}, fused{kS, kB, 3 * kN * kD};
    OpCase turn = op_case(dtype, "rope", [](const Stream& s, const OpTensors& t) {
      rope(s, {t["x"], t["positions"], t["frequencies"]});
    });
    turn.in_out("x", dtype, head, normal(), {}).input("positions", DType::kI32, {kB, kS}, integers(0, kS));
    cases.push_back(turn.input("frequencies", DType::kF32, {kD / 2}, values(frequencies)));
    OpCase split = op_case(dtype, "split_qkv", [](const Stream& s, const OpTensors& t) {
      split_qkv(s, {t["fused"], t["q"], t["k"], t["v"]});
    });
    split.input("fused", dtype, fused, normal()).output("q", dtype, head, {});
    cases.push_back(split.output("k", dtype, head, {}).output("v", dtype, head, {}));
    OpCase merge = op_case(dtype, "merge_qkv", [](const Stream& s, const OpTensors& t) {
      merge_qkv(s, {t["q"], t["k"], t["v"], t["fused"]});
    });
    merge.input("q", dtype, head, normal()).input("k", dtype, head, normal()).input("v", dtype, head, normal());
    cases.push_back(merge.output("fused", dtype, fused, {}));
  }
  return cases;
}

std::vector<OpCase> permute_performance_cases() {
  std::vector<OpCase> cases;
  OpCase plan = op_case(DType::kI32, "plan", [](const Stream& s, const OpTensors& t) {
    permutation_plan(s, {t["experts"], kE, 0, t["counts"], t["offsets"], t["row_token"], t["row_slot"], t["slot_row"]});
  });
  plan.input("experts", DType::kI32, {kT, kK}, integers(0, kE)).output("counts", DType::kI64, {kE}, {});
  plan.output("offsets", DType::kI64, {kE + 1}, {}).output("row_token", DType::kI32, {kP}, {});
  cases.push_back(plan.output("row_slot", DType::kI32, {kP}, {}).output("slot_row", DType::kI32, {kT, kK}, {}));
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    OpCase gather = op_case(dtype, "gather_rows", [](const Stream& s, const OpTensors& t) {
      gather_rows(s, {t["x"], t["row_token"], t["out"]});
    });
    gather.input("x", dtype, {kT, kH}, normal()).input("row_token", DType::kI32, {kP}, integers(0, kT));
    cases.push_back(gather.output("out", dtype, {kP, kH}, {}));
    OpCase combine = op_case(dtype, "combine_rows", [](const Stream& s, const OpTensors& t) {
      combine_rows(s, {t["rows"], t["slot_row"], {}, t["out"]});
    });
    combine.input("rows", dtype, {kP, kH}, normal()).input("slot_row", DType::kI32, {kT, kK}, integers(0, kP));
    cases.push_back(combine.output("out", dtype, {kT, kH}, {}));
  }
  return cases;
}

std::vector<OpCase> embedding_performance_cases() {
  std::vector<OpCase> cases;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Shape hidden{kS, kB, kH};
    OpCase forward = op_case(dtype, "embedding_forward", [](const Stream& s, const OpTensors& t) {
      embedding_forward(s, {t["ids"], t["table"], t["y"]});
    });
    forward.input("ids", DType::kI32, {kB, kS}, integers(0, kV)).input("table", dtype, {kV, kH}, normal());
    cases.push_back(forward.output("y", dtype, hidden, {}));
    OpCase backward = op_case(dtype, "embedding_backward", [](const Stream& s, const OpTensors& t) {
      embedding_backward(s, {t["ids"], t["dy"], t["dtable"]});
    });
    backward.input("ids", DType::kI32, {kB, kS}, integers(0, kV)).input("dy", dtype, hidden, normal());
    cases.push_back(backward.in_out("dtable", DType::kF32, {kV, kH}, constant(0), {}));
    for (const float rate : {0.0f, 0.1f}) {
      std::vector<RandomStream> streams;
      for (int64_t b = 0; b < kB; ++b) streams.emplace_back(1, "hidden", static_cast<uint64_t>(b));
      OpCase drop =
          op_case(dtype, rate == 0 ? "add_residual" : "dropout_add", [=](const Stream& s, const OpTensors& t) {
            dropout_add(s, {t["x"], t["residual"], t["out"], rate, streams});
          });
      drop.input("x", dtype, hidden, normal()).input("residual", dtype, hidden, normal());
      cases.push_back(drop.output("out", dtype, hidden, {}));
    }
  }
  return cases;
}

}  // namespace conclave::kernels
