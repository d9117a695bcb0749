#include "trainer/layer_statistics.h"

#include <algorithm>
#include <cmath>

#include "kernels/elementwise.h"
#include "kernels/optimizer.h"

namespace conclave {
namespace {

double square_sum_of(const Stream& stream, const Tensor& x) {
  const Tensor out = Tensor::empty(stream.device(), {1}, DType::kF64, {MemoryCategory::kWorkspace, "layer statistics"});
  kernels::square_sum(stream, {.x = x.view({x.element_count()}), .out = out});
  return to_host<double>(stream, out)[0];
}

double abs_max_of(const Stream& stream, const Tensor& x) {
  const Tensor out = Tensor::empty(stream.device(), {1}, DType::kF32, {MemoryCategory::kWorkspace, "layer statistics"});
  kernels::abs_max(stream, {.x = x.view({x.element_count()}), .out = out});
  return to_host<float>(stream, out)[0];
}

// "decoder.layers.3" of a longer name; the name itself elsewhere.
std::string layer_of(const std::string& where) {
  static const std::string kPrefix = "decoder.layers.";
  if (!where.starts_with(kPrefix)) return where;
  return where.substr(0, where.find('.', kPrefix.size()));
}

}  // namespace

LayerStatistics::LayerStatistics(Engine& engine) : engine_(engine) { engine.executor().set_observer(this); }
LayerStatistics::~LayerStatistics() { engine_.executor().set_observer(nullptr); }

void LayerStatistics::see(const Stream& stream, const std::string& where, const Tensor& tensor) {
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kBF16) return;
  const std::string layer = layer_of(where);
  const auto keep_largest = [&](const char* kind) {
    double& value = largest_[kind + layer];
    value = std::max(value, abs_max_of(stream, tensor));
  };
  if (where.ends_with(".router.logits")) return keep_largest("max-router-logit/");
  if (where.ends_with(".core_attention.max_logit")) return keep_largest("max-attention-logit/");
  if (where == layer) squares_["activation-norm/" + layer] += square_sum_of(stream, tensor);
  if (where == layer + ".grad") squares_["activation-grad-norm/" + layer] += square_sum_of(stream, tensor);
}

std::map<std::string, double> LayerStatistics::take() {
  const Stream stream = engine_.device().default_stream();
  std::map<std::string, double> out = largest_;
  for (const Parameter* parameter : engine_.store().parameters()) {
    const std::string& name = parameter->spec.name;
    out["grad-norm/" + name] = std::sqrt(square_sum_of(stream, engine_.store().gradient(*parameter)));
    out["param-norm/" + name] = std::sqrt(square_sum_of(stream, engine_.store().main_weight(*parameter)));
  }
  for (const auto& [name, sum] : squares_) out[name] = std::sqrt(sum);
  return out;
}

}  // namespace conclave
