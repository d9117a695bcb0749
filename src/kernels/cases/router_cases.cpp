#include "kernels/cases/performance_cases.h"
#include "kernels/router_balance.h"
#include "kernels/router_capacity.h"
#include "kernels/router_sinkhorn.h"
#include "kernels/router_topk.h"
#include "kernels/router_z_loss.h"

namespace conclave::kernels {
namespace {

struct RouterSize {
  int64_t tokens, experts, topk;
  std::string text() const { return fmt::format("{}x{}_k{}", tokens, experts, topk); }
};

RouterRule rule_of(const RouterSize& size, ScoreFunction score) {
  RouterRule rule;
  rule.score = score;
  rule.topk = size.topk;
  return rule;
}

std::string_view score_name(ScoreFunction score) { return score == ScoreFunction::kSoftmax ? "softmax" : "sigmoid"; }

void add_choice(std::vector<OpCase>& cases, const RouterSize& size, ScoreFunction score) {
  const RouterRule rule = rule_of(size, score);
  const Shape logits{size.tokens, size.experts}, choices{size.tokens, size.topk};
  OpCase forward{
      fmt::format("topk_{}_{}", score_name(score), size.text()), {}, [rule](const Stream& s, const OpTensors& t) {
        router_topk(s, {.rule = rule, .logits = t["logits"], .experts = t["experts"], .probs = t["probs"]});
      }};
  forward.input("logits", DType::kF32, logits, normal()).output("experts", DType::kI32, choices, {});
  cases.push_back(forward.output("probs", DType::kF32, choices, {}));

  OpCase backward{forward.name + "_backward", {}, [rule](const Stream& s, const OpTensors& t) {
                    router_topk_backward(s, {.rule = rule,
                                             .logits = t["logits"],
                                             .experts = t["experts"],
                                             .dprobs = t["dprobs"],
                                             .dlogits = t["dlogits"]});
                  }};
  backward.input("logits", DType::kF32, logits, normal())
      .input("experts", DType::kI32, choices, integers(0, size.experts));
  cases.push_back(backward.input("dprobs", DType::kF32, choices, normal()).output("dlogits", DType::kF32, logits, {}));
}

void add_balance(std::vector<OpCase>& cases, const RouterSize& size, ScoreFunction score) {
  constexpr int64_t kBatch = 8;
  const RouterRule rule = rule_of(size, score);
  const Shape logits{size.tokens, size.experts}, columns{kBatch, size.experts};
  OpCase forward{
      fmt::format("balance_{}_{}", score_name(score), size.text()), {}, [rule](const Stream& s, const OpTensors& t) {
        balance_scores(
            s, {.rule = rule, .logits = t["logits"], .batch = kBatch, .counts = t["counts"], .score_sums = t["sums"]});
      }};
  forward.input("logits", DType::kF32, logits, normal()).output("counts", DType::kF32, columns, {});
  cases.push_back(forward.output("sums", DType::kF64, columns, {}));

  OpCase backward{
      forward.name + "_backward", {}, [rule](const Stream& s, const OpTensors& t) {
        balance_backward(
            s, {.rule = rule, .logits = t["logits"], .batch = kBatch, .slope = t["slope"], .dlogits = t["dlogits"]});
      }};
  backward.input("logits", DType::kF32, logits, normal()).input("slope", DType::kF64, columns, uniform());
  cases.push_back(backward.in_out("dlogits", DType::kF32, logits, constant(0), {}));
}

void add_others(std::vector<OpCase>& cases, const RouterSize& size) {
  const Shape logits{size.tokens, size.experts}, choices{size.tokens, size.topk};
  OpCase z{"z_loss_" + size.text(), {}, [](const Stream& s, const OpTensors& t) {
             z_loss(s, {.coefficient = 1e-3, .logits = t["logits"], .loss = t["loss"]});
             z_loss_backward(s, {.coefficient = 1e-3, .logits = t["logits"], .dlogits = t["dlogits"]});
           }};
  z.input("logits", DType::kF32, logits, normal()).output("loss", DType::kF64, {1}, {});
  cases.push_back(z.in_out("dlogits", DType::kF32, logits, constant(0), {}));

  const int64_t capacity = expert_capacity(size.tokens, size.topk, size.experts, 1.0);
  OpCase drop{"drop_" + size.text(), {}, [size, capacity](const Stream& s, const OpTensors& t) {
                router_drop(s, {.capacity = capacity,
                                .expert_count = size.experts,
                                .chosen = t["chosen"],
                                .kept = t["kept"],
                                .probs = t["probs"]});
              }};
  drop.input("chosen", DType::kI32, choices, integers(0, size.experts)).output("kept", DType::kI32, choices, {});
  cases.push_back(drop.in_out("probs", DType::kF32, choices, uniform(), {}));

  OpCase sinkhorn{"sinkhorn_" + size.text(), {}, [size](const Stream& s, const OpTensors& t) {
                    router_sinkhorn(
                        s, {.topk = size.topk, .logits = t["logits"], .experts = t["experts"], .probs = t["probs"]});
                  }};
  sinkhorn.input("logits", DType::kF32, logits, normal()).output("experts", DType::kI32, choices, {});
  cases.push_back(sinkhorn.output("probs", DType::kF32, choices, {}));
}

}  // namespace

std::vector<OpCase> router_performance_cases() {
  std::vector<OpCase> cases;
  for (const RouterSize& size : {RouterSize{2048, 16, 2}, RouterSize{16384, 256, 8}}) {
    for (const ScoreFunction score : {ScoreFunction::kSoftmax, ScoreFunction::kSigmoid}) {
      add_choice(cases, size, score);
      add_balance(cases, size, score);
    }
    add_others(cases, size);
  }
  return cases;
}

}  // namespace conclave::kernels
