#include "config/table/rows.h"

namespace conclave {
namespace {

void add_save_and_load(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kCheckpoint;
  CONCLAVE_OPTION(checkpoint, save, "Run directory: checkpoints, metrics, options.");
  CONCLAVE_OPTION(checkpoint, load, "Run directory to continue from.");
  CONCLAVE_OPTION(checkpoint, load_hf, "Hugging Face model to start from when --load has no checkpoint.");
  CONCLAVE_OPTION(checkpoint, save_hf_interval, "Steps between Hugging Face models in SAVE/hf; 0: none.").at_least(0);
  CONCLAVE_OPTION(checkpoint, pretrained_checkpoint, "Weights to start from when --load has no checkpoint.");
  CONCLAVE_OPTION(checkpoint, save_interval, "Steps between checkpoints; 0: only at the end and on a signal.")
      .at_least(0)
      .alias("persistent-save-interval");
  CONCLAVE_OPTION(checkpoint, save_retain_interval, "Of older checkpoints keep those whose step this divides.")
      .at_least(0);
  CONCLAVE_OPTION(checkpoint, keep_last, "Newest checkpoints to keep; 0: all.").at_least(0);
  CONCLAVE_OPTION(checkpoint, ckpt_step, "Step to load; 0: the latest.").at_least(0);
  CONCLAVE_OPTION(checkpoint, finetune, "Load weights only and start at step 0.");
  CONCLAVE_OPTION(checkpoint, no_load_optim, "Do not load the optimizer.");
  CONCLAVE_OPTION(checkpoint, no_load_rng, "There is no random state: numbers follow from seed and position.")
      .not_active();
  CONCLAVE_OPTION(checkpoint, no_save_optim, "Do not save the optimizer.");
  CONCLAVE_OPTION(checkpoint, no_save_rng, "There is no random state: numbers follow from seed and position.")
      .not_active();
  CONCLAVE_OPTION(checkpoint, exit_on_missing_checkpoint, "End if --load has no checkpoint.");
  CONCLAVE_OPTION(checkpoint, use_checkpoint_args, "Take the architecture from the checkpoint.");
  CONCLAVE_OPTION(checkpoint, async_save, "Write checkpoints beside training.");
}

void add_names(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kCheckpoint;
  add_not_active_rows(
      rows, group,
      {{"async-ckpt-cpu-priority", kInt, "10", "Another implementation's writer process."},
       {"async-ckpt-io-priority", kInt, "3", "Another implementation's writer process."},
       {"async-ckpt-use-cpu-shm", kFlag, "", "Another implementation's writer process."},
       {"async-strategy", kString, "nvrx", "Another implementation's writer process."},
       {"use-persistent-ckpt-worker", kFlag, "", "Another implementation's writer process."},
       {"auto-detect-ckpt-format", kFlag, "", "There is one format."},
       {"ckpt-assume-constant-structure", kFlag, "", "A cache of another format."},
       {"ckpt-drop-redundant-extra-state", kFlag, "", "A detail of another format."},
       {"ckpt-format", kString, "torch_dist", "There is one format: sharded safetensors with an index."},
       {"ckpt-fully-parallel-load", kFlag, "", "Who reads what."},
       {"ckpt-fully-parallel-load-exchange-algo", kString, "broadcast", "Who reads what."},
       {"ckpt-fully-parallel-load-per-rank-objects", kFlag, "", "Who reads what."},
       {"ckpt-fully-parallel-load-process-group", kString, "dp", "Who reads what."},
       {"ckpt-fully-parallel-save", kFlag, "true", "Who writes what."},
       {"ckpt-fully-parallel-save-process-group", kString, "dp", "Who writes what."},
       {"ckpt-load-validate-sharding-integrity", kFlag, "true", "Checkpoints are always checked."},
       {"ckpt-pg-tensors-cache-create", kFlag, "", "A cache of another format."},
       {"ckpt-pg-tensors-cache-path", kString, "", "A cache of another format."},
       {"dist-ckpt-format", kString, "", "There is one format."},
       {"dist-ckpt-optim-fully-reshardable", kFlag, "", "Optimizer states always fit every layout."},
       {"dist-ckpt-save-pre-mcore-014", kFlag, "", "A detail of another format."},
       {"dist-ckpt-strictness", kString, "assume_ok_unexpected", "A detail of another format."},
       {"dist-ckpt-workers", kInt, "1", "Another implementation's writer process."},
       {"distrib-optim-fully-reshardable-mem-efficient", kFlag, "", "A detail of another format."},
       {"load-main-params-from-ckpt", kFlag, "", "Main weights always come from the checkpoint."},
       {"save-tokenizer-assets", kFlag, "true", "Copies of tokenizer files."},
       {"strict-fsdp-dtensor-load", kFlag, "true", "A detail of another format."},
       {"use-dist-ckpt", kFlag, "", "There is one format."},
       {"use-mp-args-from-checkpoint-args", kFlag, "", "Any layout loads any other's checkpoint."},
       {"verify-integrity", kFlag, "", "Checksums are always written."}});
}

}  // namespace

void add_checkpoint_rows(OptionRows& rows) {
  using enum OptionType;
  constexpr OptionGroup group = OptionGroup::kCheckpoint;
  add_save_and_load(rows);
  add_names(rows);
  add_unavailable_rows(rows, group, "conversion of other checkpoint formats",
                       {{"ckpt-convert-format", kString, "", "Format to convert into."},
                        {"ckpt-convert-save", kString, "", "Where the converted checkpoint goes."},
                        {"ckpt-convert-update-legacy-dist-opt-format", kFlag, "", "Rewrite an old format."},
                        {"override-ckpt-iteration", kInt, "", "Pretend another iteration."}});
  add_unavailable_rows(rows, group, "checkpoints for a short time",
                       {{"non-persistent-ckpt-type", kString, "", "Where they are kept."},
                        {"non-persistent-global-ckpt-dir", kString, "", "Folder of shared ones."},
                        {"non-persistent-local-ckpt-algo", kString, "fully_parallel", "Who writes what."},
                        {"non-persistent-local-ckpt-dir", kString, "", "Folder of local ones."},
                        {"non-persistent-save-interval", kInt, "", "Steps between them."},
                        {"replication", kFlag, "", "Copies on other machines."},
                        {"replication-factor", kInt, "2", "How many copies."},
                        {"replication-jump", kInt, "", "Distance between copies."}});
  add_unavailable_rows(rows, group, "dumps of single tensors",
                       {{"save-activations-interval", kInt, "", "Steps between dumps of activations."},
                        {"save-dgrads-interval", kInt, "", "Steps between dumps of activation gradients."},
                        {"save-params-interval", kInt, "", "Steps between dumps of weights."},
                        {"save-tokens-per-expert-interval", kInt, "", "Steps between dumps of expert load."},
                        {"save-wgrads-interval", kInt, "", "Steps between dumps of weight gradients."}});
}

}  // namespace conclave
