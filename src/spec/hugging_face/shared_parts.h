// What configurations of several families have in common.
#pragma once

#include <functional>
#include <vector>

#include "spec/hugging_face/family.h"

namespace conclave {

/// Sizes, norms, activation, tied embeddings, dropout: of every family. Grouped-query attention and head size too,
/// unless the attention is latent.
enum class AttentionForm { kGrouped, kLatent };
void read_sizes(ConfigReader& config, Json& options, AttentionForm form);
void write_sizes(const Options& options, Json& config, AttentionForm form);

/// rope_parameters, or rope_theta with rope_scaling: default, linear, yarn, llama3.
void read_rope(ConfigReader& config, Json& options, double default_theta, AttentionForm form);
void write_rope(const Options& options, Json& config, AttentionForm form);

/// Keys that see `window` tokens, themselves included, in the layers where `windowed` says so.
void set_windows(Json& options, int64_t window, const std::vector<bool>& windowed);
/// use_sliding_window, sliding_window, max_window_layers, layer_types. `by_rule`: which layers see a window where
/// layer_types does not say.
void read_layer_windows(ConfigReader& config, Json& options,
                        const std::function<bool(int64_t layer, int64_t max_window_layers)>& by_rule);
void write_layer_windows(const Options& options, Json& config);
/// The same window in every layer; 0 or null: none. `otherwise`: where the key is absent.
void read_plain_window(ConfigReader& config, Json& options, int64_t otherwise);
void write_plain_window(const Options& options, Json& config);

/// moe-layer-freq from a rule.
void set_moe_layers(Json& options, const std::vector<bool>& experts);
/// decoder_sparse_step and mlp_only_layers.
void read_sparse_steps(ConfigReader& config, Json& options);
void write_sparse_steps(const Options& options, Json& config);
/// norm_topk_prob of a softmax router.
void set_softmax_norm(Json& options, bool normalised, ConfigReader& config);
bool softmax_norm(const Options& options);

}  // namespace conclave
