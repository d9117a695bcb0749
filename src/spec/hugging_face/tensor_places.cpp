#include "spec/hugging_face/tensor_places.h"

#include <fmt/core.h>

#include <map>

#include "base/error.h"

namespace conclave {
namespace {

int64_t elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

class PlaceList {
 public:
  PlaceList(const ModelSpec& spec, const FamilyNames& names, ExpertForm form)
      : spec_(spec), names_(names), form_(form) {}

  std::vector<TensorPlace> make() {
    whole("model.embed_tokens.weight", {spec_.vocab, spec_.hidden}, "embedding.word_embeddings.weight");
    for (size_t i = 0; i < spec_.layers.size(); ++i)
      layer(fmt::format("model.layers.{}.", i), fmt::format("decoder.layers.{}.", i), spec_.layers[i]);
    whole("model.norm.weight", {spec_.hidden}, "decoder.final_layernorm.weight");
    if (spec_.tied_embeddings) {
      repeat("lm_head.weight", "embedding.word_embeddings.weight");
      out_.back().may_be_absent = true;
    } else {
      whole("lm_head.weight", {spec_.vocab, spec_.hidden}, "output_layer.weight");
    }
    for (size_t i = 0; i < spec_.predictions.size(); ++i) prediction(i);
    return std::move(out_);
  }

 private:
  const ModelSpec& spec_;
  const FamilyNames& names_;
  ExpertForm form_;
  std::vector<TensorPlace> out_;

  void part(const std::string& name, std::vector<int64_t> shape, const std::string& ours, std::vector<PlaceRun> runs) {
    out_.push_back({name, std::move(shape), ours, std::move(runs)});
  }
  // A tensor that is elements [begin, ...) of ours.
  void part_at(const std::string& name, const std::vector<int64_t>& shape, const std::string& ours, int64_t begin) {
    part(name, shape, ours, {{0, begin, elements(shape)}});
  }
  void whole(const std::string& name, const std::vector<int64_t>& shape, const std::string& ours) {
    part_at(name, shape, ours, 0);
  }
  void repeat(const std::string& name, const std::string& ours) {
    part_at(name, {spec_.vocab, spec_.hidden}, ours, 0);
    out_.back().repeated = true;
  }

  void layer(const std::string& theirs, const std::string& ours, const LayerSpec& layer) {
    whole(theirs + "input_layernorm.weight", {spec_.hidden}, ours + "input_layernorm.weight");
    if (layer.attention.latent) {
      latent_attention(theirs + "self_attn.", ours + "self_attention.", layer.attention);
    } else {
      attention(theirs + "self_attn.", ours + "self_attention.", layer.attention);
    }
    whole(theirs + "post_attention_layernorm.weight", {spec_.hidden}, ours + "pre_mlp_layernorm.weight");
    if (layer.ffn == FfnKind::kDense) {
      mlp(theirs + "mlp.", ours + "mlp.", layer.mlp);
    } else {
      experts(theirs, ours + "mlp.", layer.moe);
    }
  }

  // q, k or v: for each group its rows stand together in ours.
  void grouped(const std::string& theirs, const std::string& ours, const AttentionSpec& attention, int64_t first,
               int64_t heads_of_group) {
    const int64_t groups = attention.groups, size = attention.head_dim;
    const int64_t per_group = attention.heads / groups + 2;
    for (const bool bias : {false, true}) {
      if (bias && !attention.qkv_bias) break;
      const int64_t row = bias ? 1 : spec_.hidden;
      std::vector<PlaceRun> runs;
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t count = heads_of_group * size * row;
        runs.push_back({g * count, (g * per_group + first) * size * row, count});
      }
      const int64_t rows = groups * heads_of_group * size;
      part(theirs + (bias ? ".bias" : ".weight"),
           bias ? std::vector<int64_t>{rows} : std::vector<int64_t>{rows, spec_.hidden},
           ours + (bias ? "linear_qkv.bias" : "linear_qkv.weight"), std::move(runs));
    }
  }

  void attention(const std::string& theirs, const std::string& ours, const AttentionSpec& attention) {
    const int64_t of_group = attention.heads / attention.groups;
    grouped(theirs + "q_proj", ours, attention, 0, of_group);
    grouped(theirs + "k_proj", ours, attention, of_group, 1);
    grouped(theirs + "v_proj", ours, attention, of_group + 1, 1);
    output(theirs, ours, attention);
    if (!attention.qk_norm) return;
    whole(theirs + "q_norm.weight", {attention.head_dim}, ours + "q_layernorm.weight");
    whole(theirs + "k_norm.weight", {attention.head_dim}, ours + "k_layernorm.weight");
  }

  void output(const std::string& theirs, const std::string& ours, const AttentionSpec& attention) {
    whole(theirs + "o_proj.weight", {spec_.hidden, attention.heads * attention.value_dim()},
          ours + "linear_proj.weight");
    if (attention.projection_bias) whole(theirs + "o_proj.bias", {spec_.hidden}, ours + "linear_proj.bias");
  }

  void latent_attention(const std::string& theirs, const std::string& ours, const AttentionSpec& attention) {
    const LatentSpec& latent = *attention.latent;
    const int64_t queries = attention.heads * attention.head_dim, down = latent.kv_rank + latent.rotated;
    if (latent.q_rank == 0) {
      whole(theirs + "q_proj.weight", {queries, spec_.hidden}, ours + "linear_q_proj.weight");
    } else {
      whole(theirs + "q_a_proj.weight", {latent.q_rank, spec_.hidden}, ours + "linear_q_down_proj.weight");
      if (latent.down_bias) whole(theirs + "q_a_proj.bias", {latent.q_rank}, ours + "linear_q_down_proj.bias");
      if (latent.norms) whole(theirs + "q_a_layernorm.weight", {latent.q_rank}, ours + "q_layernorm.weight");
      whole(theirs + "q_b_proj.weight", {queries, latent.q_rank}, ours + "linear_q_up_proj.weight");
    }
    whole(theirs + "kv_a_proj_with_mqa.weight", {down, spec_.hidden}, ours + "linear_kv_down_proj.weight");
    if (latent.down_bias) whole(theirs + "kv_a_proj_with_mqa.bias", {down}, ours + "linear_kv_down_proj.bias");
    if (latent.norms) whole(theirs + "kv_a_layernorm.weight", {latent.kv_rank}, ours + "kv_layernorm.weight");
    whole(theirs + "kv_b_proj.weight", {attention.heads * (latent.plain + latent.value), latent.kv_rank},
          ours + "linear_kv_up_proj.weight");
    output(theirs, ours, attention);
  }

  void mlp(const std::string& theirs, const std::string& ours, const MlpSpec& mlp) {
    const int64_t width = mlp.width, hidden = spec_.hidden;
    part_at(theirs + "gate_proj.weight", {width, hidden}, ours + "linear_fc1.weight", 0);
    part_at(theirs + "up_proj.weight", {width, hidden}, ours + "linear_fc1.weight", width * hidden);
    whole(theirs + "down_proj.weight", {hidden, width}, ours + "linear_fc2.weight");
    if (!mlp.bias) return;
    part_at(theirs + "gate_proj.bias", {width}, ours + "linear_fc1.bias", 0);
    part_at(theirs + "up_proj.bias", {width}, ours + "linear_fc1.bias", width);
    whole(theirs + "down_proj.bias", {hidden}, ours + "linear_fc2.bias");
  }

  void experts(const std::string& layer, const std::string& ours, const MoeSpec& moe) {
    // A fused block is called mlp in every family.
    const std::string theirs = layer + (form_ == ExpertForm::kFused ? "mlp" : names_.block) + ".";
    const int64_t count = moe.router.experts, width = moe.expert.width, hidden = spec_.hidden;
    whole(theirs + "gate.weight", {count, hidden}, ours + "router.weight");
    if (moe.router.expert_bias) whole(theirs + "gate.e_score_correction_bias", {count}, ours + "router.expert_bias");
    const std::string fc1 = ours + "experts.linear_fc1.weight", fc2 = ours + "experts.linear_fc2.weight";
    if (form_ == ExpertForm::kFused) {
      whole(theirs + "experts.gate_up_proj", {count, 2 * width, hidden}, fc1);
      whole(theirs + "experts.down_proj", {count, hidden, width}, fc2);
    } else {
      for (int64_t e = 0; e < count; ++e) {
        const std::string expert = fmt::format("{}experts.{}.", theirs, e);
        const int64_t matrix = width * hidden;
        part_at(expert + names_.gate + ".weight", {width, hidden}, fc1, 2 * e * matrix);
        part_at(expert + names_.up + ".weight", {width, hidden}, fc1, (2 * e + 1) * matrix);
        part_at(expert + names_.down + ".weight", {hidden, width}, fc2, e * matrix);
      }
    }
    if (moe.shared_width == 0) return;
    MlpSpec shared = moe.expert;
    shared.width = moe.shared_width;
    shared.bias = false;
    mlp(theirs + names_.shared + ".", ours + "shared_experts.", shared);
    if (moe.shared_gate)
      whole(theirs + names_.shared + "_gate.weight", {1, hidden}, ours + "shared_experts.gate_weight");
  }

  // A prediction depth follows the decoder's layers; it carries the tables of the model once more.
  void prediction(size_t depth) {
    const std::string theirs = fmt::format("model.layers.{}.", spec_.layers.size() + depth);
    const std::string ours = fmt::format("mtp.layers.{}.", depth);
    repeat(theirs + "embed_tokens.weight", "embedding.word_embeddings.weight");
    whole(theirs + "enorm.weight", {spec_.hidden}, ours + "enorm.weight");
    whole(theirs + "hnorm.weight", {spec_.hidden}, ours + "hnorm.weight");
    whole(theirs + "eh_proj.weight", {spec_.hidden, 2 * spec_.hidden}, ours + "eh_proj.weight");
    layer(theirs, ours + "mtp_model_layer.", spec_.predictions[depth]);
    whole(theirs + "shared_head.norm.weight", {spec_.hidden}, ours + "final_layernorm.weight");
    repeat(theirs + "shared_head.head.weight",
           spec_.tied_embeddings ? "embedding.word_embeddings.weight" : "output_layer.weight");
  }
};

}  // namespace

std::vector<TensorPlace> tensor_places(const ModelSpec& spec, const FamilyNames& names, ExpertForm form) {
  return PlaceList(spec, names, form).make();
}

std::vector<OwnTensor> own_tensors(const std::vector<TensorPlace>& places, const ModelSpec& spec) {
  std::vector<OwnTensor> out;
  std::map<std::string, size_t> index;
  std::map<std::string, int64_t> counts;
  for (const TensorPlace& place : places) {
    if (place.repeated) continue;
    if (index.emplace(place.ours, out.size()).second) out.push_back({place.ours, place.shape});
    for (const PlaceRun& run : place.runs) counts[place.ours] += run.count;
  }
  for (OwnTensor& tensor : out) {
    const int64_t count = counts[tensor.name];
    if (tensor.name.ends_with(".experts.linear_fc1.weight") || tensor.name.ends_with(".experts.linear_fc2.weight")) {
      if (tensor.shape.size() == 3) continue;  // stored as a stack already
      const bool first = tensor.name.ends_with("fc1.weight");
      const int64_t columns = first ? spec.hidden : tensor.shape[1], rows = first ? 2 * tensor.shape[0] : spec.hidden;
      tensor.shape = {count / (rows * columns), rows, columns};
    } else {
      const int64_t row = tensor.shape.size() == 1 ? 1 : tensor.shape[1];
      tensor.shape[0] = count / row;
    }
  }
  return out;
}

}  // namespace conclave
