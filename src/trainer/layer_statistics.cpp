#include "trainer/layer_statistics.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "checkpoint/tensor_directory.h"
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

/// Values by name of all ranks, in rank order.
std::map<std::string, double> over_job(Engine& engine, const std::map<std::string, double>& own,
                                       double (*join)(double, double)) {
  std::string text;
  for (const auto& [name, value] : own) text += fmt::format("{} {}\n", name, std::bit_cast<uint64_t>(value));
  Communicator& world = engine.groups().world().all();
  const std::vector<std::string> texts(static_cast<size_t>(world.size()), text);
  std::map<std::string, double> out;
  for (const std::string& other : exchange_texts(world, engine.device().default_stream(), texts)) {
    for (const std::string& line : split(other, '\n')) {
      const size_t space = line.find(' ');
      if (space == std::string::npos) continue;
      const double value = std::bit_cast<double>(std::stoull(line.substr(space + 1)));
      const auto [place, is_new] = out.try_emplace(line.substr(0, space), value);
      if (!is_new) place->second = join(place->second, value);
    }
  }
  return out;
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
  if (!counts_activations()) return;
  if (where == layer) squares_["activation-norm/" + layer] += square_sum_of(stream, tensor);
  if (where == layer + ".grad") squares_["activation-grad-norm/" + layer] += square_sum_of(stream, tensor);
}

/// Without sequence parallelism every tensor-parallel rank has the same activations between layers.
bool LayerStatistics::counts_activations() const {
  const ModelPart& part = engine_.groups().part();
  return part.sequence_parallel || part.tensor.rank == 0;
}

double LayerStatistics::largest_attention_logit() {
  double out = -kInfinity;
  for (const auto& [name, value] : over_job(engine_, largest_, larger)) {
    if (name.starts_with(kAttentionLogit)) out = larger(out, value);
  }
  return out;
}

void LayerStatistics::add_squares(const std::string& prefix, const std::vector<StateTensor>& owned, double share) {
  const Stream stream = engine_.device().default_stream();
  const std::vector<BufferSpec>& buffers = engine_.store().buffers();
  for (const StateTensor& state : owned) {
    const bool is_buffer = std::any_of(buffers.begin(), buffers.end(),
                                       [&](const BufferSpec& buffer) { return buffer.name == state.name; });
    if (!state.optimizer && !is_buffer) squares_[prefix + state.name] += share * square_sum_of(stream, state.tensor);
  }
}

void LayerStatistics::see_gradients() {
  if (detail_ != Detail::kAll) return;
  // Every optimizer instance has the gradients once.
  const auto instances = static_cast<double>(engine_.groups().layout().sizes().optimizer_instances);
  add_squares("grad-norm/", engine_.store().owned_gradients(), 1 / instances);
}

std::map<std::string, double> LayerStatistics::take() {
  if (detail_ == Detail::kAll) add_squares("param-norm/", engine_.store().owned_state(), 1);
  std::map<std::string, double> out = over_job(engine_, largest_, larger);
  for (const auto& [name, sum] : over_job(engine_, squares_, [](double a, double b) { return a + b; }))
    out[name] = std::sqrt(sum);
  return out;
}

}  // namespace conclave
