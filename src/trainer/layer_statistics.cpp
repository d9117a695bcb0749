#include "trainer/layer_statistics.h"

#include <cmath>
#include <limits>

#include "kernels/elementwise.h"
#include "kernels/optimizer.h"

namespace conclave {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const std::string kAttentionLogit = "max-attention-logit/";

// NaN is larger than anything: it must not get lost.
double larger(double a, double b) { return std::isnan(a) || a > b ? a : b; }

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

double max_of(const Stream& stream, const Tensor& x) {
  double out = -kInfinity;
  for (const float value : to_host<float>(stream, x)) out = larger(out, value);
  return out;
}

// "decoder.layers.3" of a longer name; the name itself elsewhere.
std::string layer_of(const std::string& where) {
  static const std::string kPrefix = "decoder.layers.";
  if (!where.starts_with(kPrefix)) return where;
  return where.substr(0, where.find('.', kPrefix.size()));
}

}  // namespace

LayerStatistics::LayerStatistics(Engine& engine, Detail detail) : engine_(engine), detail_(detail) {
  engine.executor().set_observer(this);
}
LayerStatistics::~LayerStatistics() { engine_.executor().set_observer(nullptr); }

void LayerStatistics::keep_largest(const std::string& name, double value) {
  double& largest = largest_.try_emplace(name, -kInfinity).first->second;
  largest = larger(largest, value);
}

void LayerStatistics::see(const Stream& stream, const std::string& where, const Tensor& tensor) {
  if (tensor.dtype() != DType::kF32 && tensor.dtype() != DType::kBF16) return;
  const std::string layer = layer_of(where);
  if (where.ends_with(".core_attention.max_logit"))
    return keep_largest(kAttentionLogit + layer, max_of(stream, tensor));
  if (detail_ != Detail::kAll) return;
  if (where.ends_with(".router.logits")) return keep_largest("max-router-logit/" + layer, abs_max_of(stream, tensor));
  if (where == layer) squares_["activation-norm/" + layer] += square_sum_of(stream, tensor);
  if (where == layer + ".grad") squares_["activation-grad-norm/" + layer] += square_sum_of(stream, tensor);
}

double LayerStatistics::largest_attention_logit() const {
  double out = -kInfinity;
  for (const auto& [name, value] : largest_) {
    if (name.starts_with(kAttentionLogit)) out = larger(out, value);
  }
  return out;
}

void LayerStatistics::see_gradients() {
  if (detail_ != Detail::kAll) return;
  const Stream stream = engine_.device().default_stream();
  for (const Parameter* parameter : engine_.store().parameters()) {
    gradients_["grad-norm/" + parameter->spec.name] =
        std::sqrt(square_sum_of(stream, engine_.store().gradient(*parameter)));
  }
}

std::map<std::string, double> LayerStatistics::take() {
  std::map<std::string, double> out = largest_;
  out.insert(gradients_.begin(), gradients_.end());
  for (const auto& [name, sum] : squares_) out[name] = std::sqrt(sum);
  if (detail_ != Detail::kAll) return out;
  const Stream stream = engine_.device().default_stream();
  for (const Parameter* parameter : engine_.store().parameters()) {
    const std::string& name = parameter->spec.name;
    out["param-norm/" + name] = std::sqrt(square_sum_of(stream, engine_.store().main_weight(*parameter)));
  }
  return out;
}

}  // namespace conclave
