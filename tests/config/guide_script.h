// The argument arrays of the guide's Mixtral script, word for word, for 32 ranks.
#pragma once

#include <string>
#include <vector>

#include "base/text.h"

namespace conclave {

inline constexpr const char* kGuideModelArgs = R"(
    --disable-bias-linear
    --seq-length 4096
    --max-position-embeddings 32768
    --num-layers 32
    --hidden-size 4096
    --ffn-hidden-size 14336
    --num-attention-heads 32
    --init-method-std 0.01
    --attention-dropout 0.0
    --hidden-dropout 0.0
    --normalization RMSNorm
    --position-embedding-type rope
    --swiglu
    --untie-embeddings-and-output-weights
    --group-query-attention
    --num-query-groups 8
    --no-masked-softmax-fusion
    --no-position-embedding
)";
inline constexpr const char* kGuideMoeArgs = R"(
    --num-experts 8
    --expert-model-parallel-size 8
    --moe-router-load-balancing-type aux_loss
    --moe-router-topk 2
    --moe-aux-loss-coeff 1e-2
    --moe-grouped-gemm
    --moe-permute-fusion
    --moe-token-dispatcher-type alltoall
)";
inline constexpr const char* kGuideDataArgs = R"(
    --tokenizer-type Llama2Tokenizer
    --tokenizer-model TOKENIZER_MODEL
    --data-path DATA_PATH
    --split 99990,8,2
)";
inline constexpr const char* kGuideTrainingArgs = R"(
    --micro-batch-size 1
    --global-batch-size 128
    --lr 1e-4
    --train-iters 500000
    --lr-decay-iters 320000
    --lr-decay-style cosine
    --min-lr 1.0e-5
    --weight-decay 0.1
    --lr-warmup-iters 500
    --clip-grad 1.0
    --bf16
    --overlap-grad-reduce
    --overlap-param-gather
)";
inline constexpr const char* kGuideModelParallelArgs = R"(
    --tensor-model-parallel-size 1
    --pipeline-model-parallel-size 4
    --num-layers-per-virtual-pipeline-stage 8
    --sequence-parallel
    --use-distributed-optimizer
)";
inline constexpr const char* kGuideLoggingArgs = R"(
    --log-interval 1
    --save-interval 10000
    --eval-interval 1000
    --eval-iters 10
    --save CHECKPOINT_PATH
    --load CHECKPOINT_PATH
    --tensorboard-dir CHECKPOINT_PATH/tensorboard
    --ckpt-format torch_dist
    --auto-detect-ckpt-format
)";

inline std::vector<std::string> guide_script() {
  std::vector<std::string> words;
  for (const char* array : {kGuideModelArgs, kGuideMoeArgs, kGuideDataArgs, kGuideTrainingArgs, kGuideModelParallelArgs,
                            kGuideLoggingArgs}) {
    for (std::string& word : split_words(array)) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace conclave
