// Tasks other than language-model training: known by name only.
#include "config/table/rows.h"

namespace conclave {
namespace {

constexpr OptionGroup group = OptionGroup::kOtherTasks;

void add_text_tasks(OptionRows& rows) {
  using enum OptionType;
  add_unavailable_rows(rows, group, "encoder-decoder, retrieval and BERT models",
                       {{"bert-binary-head", kFlag, "true", "Next-sentence loss.", "bert-no-binary-head"},
                        {"bert-embedder-type", kString, "megatron", "Embedder of retrieval."},
                        {"bert-load", kString, "", "Checkpoint of a retriever."},
                        {"biencoder-projection-dim", kInt, "0", "Retriever."},
                        {"biencoder-shared-query-context-model", kFlag, "", "Retriever."},
                        {"block-data-path", kString, "", "Retriever."},
                        {"decoder-num-layers", kInt, "", "Layers of a decoder beside an encoder."},
                        {"decoder-seq-length", kInt, "", "Length of a decoder beside an encoder."},
                        {"embedding-path", kString, "", "Retriever."},
                        {"encoder-num-layers", kInt, "", "Layers of an encoder."},
                        {"evidence-data-path", kString, "", "Retriever."},
                        {"ict-head-size", kInt, "", "Retriever."},
                        {"ict-load", kString, "", "Retriever."},
                        {"indexer-batch-size", kInt, "128", "Retriever."},
                        {"indexer-log-interval", kInt, "1000", "Retriever."},
                        {"mask-prob", kFloat, "0.15", "Masked tokens."},
                        {"output-bert-embeddings", kFlag, "", "Write embeddings."},
                        {"query-in-block-prob", kFloat, "0.1", "Retriever."},
                        {"retriever-report-topk-accuracies", kIntList, "", "Retriever."},
                        {"retriever-score-scaling", kFlag, "", "Retriever."},
                        {"sample-rate", kFloat, "1.0", "Retriever."},
                        {"short-seq-prob", kFloat, "0.1", "Masked tokens."},
                        {"titles-data-path", kString, "", "Retriever."},
                        {"use-one-sent-docs", kFlag, "", "Retriever."}});
}

void add_vision(OptionRows& rows) {
  using enum OptionType;
  add_unavailable_rows(rows, group, "vision models",
                       {{"classes-fraction", kFloat, "1.0", "Images."},
                        {"data-per-class-fraction", kFloat, "1.0", "Images."},
                        {"dino-bottleneck-size", kInt, "256", "Images."},
                        {"dino-freeze-last-layer", kFloat, "1", "Images."},
                        {"dino-head-hidden-size", kInt, "2048", "Images."},
                        {"dino-local-crops-number", kInt, "10", "Images."},
                        {"dino-local-img-size", kInt, "96", "Images."},
                        {"dino-norm-last-layer", kFlag, "", "Images."},
                        {"dino-teacher-temp", kFloat, "0.07", "Images."},
                        {"dino-warmup-teacher-temp", kFloat, "0.04", "Images."},
                        {"dino-warmup-teacher-temp-epochs", kInt, "30", "Images."},
                        {"img-h", kInt, "224", "Images."},
                        {"img-w", kInt, "224", "Images."},
                        {"iter-per-epoch", kInt, "1250", "Images."},
                        {"mask-factor", kFloat, "1.0", "Images."},
                        {"mask-type", kString, "random", "Images."},
                        {"num-channels", kInt, "3", "Images."},
                        {"num-classes", kInt, "1000", "Images."},
                        {"patch-dim", kInt, "16", "Images."},
                        {"swin-backbone-type", kString, "tiny", "Images."},
                        {"vision-backbone-type", kString, "vit", "Images."},
                        {"vision-pretraining", kFlag, "", "Images."},
                        {"vision-pretraining-type", kString, "classify", "Images."}});
}

}  // namespace

void add_other_task_rows(OptionRows& rows) {
  using enum OptionType;
  add_text_tasks(rows);
  add_vision(rows);
  add_unavailable_rows(rows, group, "distillation from saved logits",
                       {{"logits-load-decode-threads", kInt, "4", "Threads that read logits."},
                        {"logits-load-dir", kString, "", "Where the teacher's logits are."},
                        {"logits-load-ignore-errors", kFlag, "", "Go on after a bad file."},
                        {"logits-load-kd-loss-alpha", kFloat, "1.0", "Weight of the teacher."},
                        {"logits-load-msc-prefetch-depth", kInt, "2", "Reading ahead."},
                        {"logits-load-prefetch-factor", kInt, "3", "Reading ahead."},
                        {"logits-save-dir", kString, "", "Where logits go."},
                        {"logits-save-dtype", kString, "fp16", "Dtype of saved logits."},
                        {"logits-save-top-k", kInt, "", "Logits kept of a token."},
                        {"logits-save-top-p", kFloat, "", "Probability kept of a token."},
                        {"logits-save-top-p-min-k", kInt, "1", "Fewest logits kept of a token."}});
  add_unavailable_rows(rows, group, "a model description in Python",
                       {{"spec", kStringList, "", "A Python function that names the layers."}});
}

}  // namespace conclave
