// Checkpoints, logging, the device, and the options of single commands.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace conclave {

struct CheckpointOptions {
  std::optional<std::string> save;  ///< run directory
  std::optional<std::string> load;
  std::optional<std::string> load_hf;  ///< a Hugging Face model to start from when `load` has no checkpoint
  int64_t save_hf_interval = 0;        ///< steps between Hugging Face models in SAVE/hf; 0: none
  std::optional<std::string> pretrained_checkpoint;  ///< loaded as with --finetune when --load has none
  int64_t save_interval = 0;                         ///< steps; 0: only at the end and on a signal
  int64_t save_retain_interval = 0;  ///< checkpoints whose iteration it divides are kept for ever; 0: all are
  int64_t keep_last = 0;             ///< newest checkpoints kept; 0: all
  int64_t ckpt_step = 0;             ///< iteration to load; 0: the latest
  bool finetune = false;
  bool no_load_optim = false;
  bool no_load_rng = false;
  bool no_save_optim = false;
  bool no_save_rng = false;
  bool exit_on_missing_checkpoint = false;
  bool use_checkpoint_args = false;
  bool async_save = false;
};

struct LoggingOptions {
  int64_t log_interval = 100;
  bool log_throughput = false;
  bool log_num_zeros_in_grad = false;
  bool log_params_norm = false;
  bool log_max_attention_logit = false;
  bool log_progress = false;
  int64_t log_layer_stats_interval = 0;  ///< steps between per-layer norms and largest logits; 0: never
  bool log_memory_to_tensorboard = false;
  bool log_timers_to_tensorboard = false;
  bool log_validation_ppl_to_tensorboard = false;
  bool log_world_size_to_tensorboard = false;
  int64_t log_memory_interval = 0;  ///< steps between memory tables; 0: never
  std::optional<std::string> tensorboard_dir;
  int64_t tensorboard_log_interval = 1;
  int64_t timing_log_level = 0;              ///< 0, 1, 2
  std::string timing_log_option = "minmax";  ///< max, minmax, all
  std::string progress = "auto";             ///< auto (a bar on a terminal), bar, plain, off
  std::string log_level = "info";            ///< debug, info, warning, error
};

struct DeviceOptions {
  std::string device = "cpu";  ///< cpu, cuda, sim
  int64_t threads = 0;         ///< CPU threads; 0: as many as cores the process may use
};

/// `conclave generate`.
struct GenerateOptions {
  std::vector<std::string> prompt;         ///< one text per sequence; none: interactive on a terminal
  std::optional<std::string> prompt_file;  ///< a text; its lines are not split
  bool interactive = false;
  int64_t max_new_tokens = 100;
  int64_t num_samples = 1;
  bool greedy = false;
  double temperature = 1.0;
  int64_t top_k = 0;   ///< 0: off
  double top_p = 0.0;  ///< 0: off
  bool ignore_eod = false;
  bool stream = true;
};

/// `conclave eval`.
struct EvalOptions {
  std::vector<std::string> text_file;     ///< plain text to measure
  std::optional<std::string> split_name;  ///< train, valid, test; none: the whole of data_path
};

/// `conclave inspect DIR`.
struct InspectOptions {
  std::optional<int64_t> iteration;
  bool verify = false;
  std::optional<std::string> diff;
};

/// `conclave plan`.
struct PlanOptions {
  bool draw = false;                 ///< the pipeline's schedule instead of a report
  std::string draw_format = "text";  ///< text, svg
};

/// One rank of a job that is not there: `conclave plan`, `conclave train --fake-process-group`.
struct PretendedOptions {
  std::optional<int64_t> world_size;  ///< ranks of the job
  std::optional<int64_t> rank;        ///< which of them; plan: none: one of each pipeline stage
};

/// `conclave convert`; the input is that of preprocess.
struct ConvertOptions {
  std::optional<std::string> from, to;  ///< hf, conclave
  std::optional<std::string> output;
  int64_t max_shard_size = 5'000'000'000;  ///< bytes of a weight file
  bool fused_experts = false;
  std::optional<std::string> hf_model_type;  ///< else the model's own, or the first that can express it
  std::optional<std::string> hf_dtype;       ///< of weights that were not imported
};

/// `conclave parity`.
struct ParityOptions {
  std::optional<std::string> hf;
  std::optional<std::string> reference;
  std::string print = "worst";  ///< all, worst
};

/// `conclave bench NAME ...`, and machine-readable answers of the other commands.
struct BenchOptions {
  bool json = false;
  std::optional<std::string> dtype;
  double min_seconds = 0.5;  ///< measuring time of one case
  std::optional<std::string> trace;
};

}  // namespace conclave
