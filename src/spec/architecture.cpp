#include "spec/architecture.h"

#include <fmt/core.h>

#include <map>

namespace conclave {
namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;

/// Adds lines under a common prefix.
class Section {
 public:
  Section(Lines& lines, std::string prefix) : lines_(lines), prefix_(std::move(prefix)) {}
  template <typename Value>
  void add(const char* name, const Value& value) {
    lines_.emplace_back(prefix_ + name, fmt::format("{}", value));
  }

 private:
  Lines& lines_;
  std::string prefix_;
};

void add_rope(Section& out, const std::optional<RopeSpec>& rope) {
  out.add("rotation", rope.has_value());
  if (!rope) return;
  out.add("rotated elements", rope->rotated);
  out.add("rotation of neighbours", rope->interleaved);
  out.add("scale of cosines and sines", static_cast<float>(rope->attention_factor));
  std::string frequencies;
  for (const float value : rope->frequencies()) frequencies += fmt::format(" {:.6g}", value);
  out.add("frequencies", frequencies);
}

void add_attention(Section& out, const AttentionSpec& attention) {
  out.add("heads", attention.heads);
  out.add("key/value heads", attention.groups);
  out.add("head size", attention.head_dim);
  out.add("window", attention.window);
  out.add("bias of q, k and v", attention.qkv_bias);
  out.add("bias of the attention's output", attention.projection_bias);
  out.add("norms of q and k", attention.qk_norm);
  out.add("softmax scale", static_cast<float>(attention.softmax_scale()));
  add_rope(out, attention.rope);
  out.add("latent attention", attention.latent.has_value());
  if (!attention.latent) return;
  const LatentSpec& latent = *attention.latent;
  out.add("query rank", latent.q_rank);
  out.add("key/value rank", latent.kv_rank);
  out.add("plain elements of a head", latent.plain);
  out.add("elements of a value head", latent.value);
  out.add("norms of latents", latent.norms);
  if (latent.norms) out.add("epsilon of the latents' norms", latent.epsilon);
  out.add("bias of down projections", latent.down_bias);
}

void add_mlp(Section& out, const MlpSpec& mlp) {
  out.add("width", mlp.width);
  out.add("activation", mlp.activation);
  out.add("bias of the MLP", mlp.bias);
  out.add("clamp", mlp.clamp);
  out.add("linear offset", mlp.linear_offset);
}

// "by count" means different things for different K: said as what is done.
bool normalises(const RouterSpec& router) {
  if (router.score_function == "softmax") return !router.pre_softmax;
  return router.norm_topk_prob == "always" || (router.norm_topk_prob == "auto" && router.topk > 1);
}

int64_t group_terms(const RouterSpec& router) {
  return router.group_score == "max" ? 1 : router.group_score == "top2_sum" ? 2 : router.topk / router.group_topk;
}

void add_router(Section& out, const RouterSpec& router) {
  out.add("experts", router.experts);
  out.add("experts of a token", router.topk);
  out.add("score function", router.score_function);
  out.add("normalised weights", normalises(router));
  out.add("sinkhorn", router.sinkhorn);
  out.add("scaling factor", router.scaling_factor == 0 ? 1.0 : router.scaling_factor);
  const bool limited = router.group_topk > 0 && router.group_topk < router.groups;
  out.add("groups", limited ? router.groups : 0);
  if (limited) {
    out.add("chosen groups", router.group_topk);
    out.add("experts that score a group", group_terms(router));
  }
  out.add("expert bias", router.expert_bias);
  out.add("bias of the router", router.linear_bias);
}

void add_layer(Lines& lines, const std::string& name, const LayerSpec& layer) {
  Section out(lines, name + " ");
  add_attention(out, layer.attention);
  out.add("experts in place of an MLP", layer.ffn == FfnKind::kMoe);
  if (layer.ffn == FfnKind::kDense) {
    add_mlp(out, layer.mlp);
    return;
  }
  add_router(out, layer.moe.router);
  add_mlp(out, layer.moe.expert);
  out.add("width of the shared expert", layer.moe.shared_width);
  if (layer.moe.shared_width > 0) out.add("gate of the shared expert", layer.moe.shared_gate);
  out.add("weights on the experts' input", layer.moe.probs_on_input);
}

}  // namespace

Lines architecture_lines(const ModelSpec& spec) {
  Lines lines;
  Section out(lines, "");
  out.add("vocabulary", spec.vocab);
  out.add("hidden size", spec.hidden);
  out.add("positions", static_cast<int>(spec.positions));
  if (spec.positions == PositionKind::kLearned) out.add("learned positions", spec.max_positions);
  out.add("LayerNorm", spec.norm.family == NormFamily::kLayerNorm);
  out.add("epsilon of norms", spec.norm.epsilon);
  out.add("norm weights stored minus one", spec.norm.one_plus);
  out.add("tied embeddings", spec.tied_embeddings);
  out.add("layers", spec.layers.size());
  out.add("prediction depths", spec.predictions.size());
  for (size_t i = 0; i < spec.layers.size(); ++i) add_layer(lines, fmt::format("layer {}", i), spec.layers[i]);
  for (size_t i = 0; i < spec.predictions.size(); ++i)
    add_layer(lines, fmt::format("depth {}", i), spec.predictions[i]);
  return lines;
}

std::vector<std::string> architecture_difference(const ModelSpec& there, const ModelSpec& here, size_t most) {
  std::map<std::string, std::string> theirs;
  for (const auto& [name, value] : architecture_lines(there)) theirs[name] = value;
  std::vector<std::string> out;
  std::map<std::string, int> told;  // differences of layers, without the layer's number
  const auto add = [&](const std::string& name, const std::string& a, const std::string& b) {
    const size_t digits = name.starts_with("layer ") ? name.find(' ', 6) : std::string::npos;
    const std::string kind = (digits == std::string::npos ? name : name.substr(digits)) + a + "/" + b;
    if (told[kind]++ > 0 || out.size() >= most) return;
    out.push_back(fmt::format("{}: {} there, {} here", name, a, b));
  };
  for (const auto& [name, value] : architecture_lines(here)) {
    const auto found = theirs.find(name);
    if (found == theirs.end()) {
      add(name, "nothing", value);
    } else if (found->second != value) {
      add(name, found->second, value);
    }
    if (found != theirs.end()) theirs.erase(found);
  }
  for (const auto& [name, value] : theirs) add(name, value, "nothing");
  return out;
}

}  // namespace conclave
