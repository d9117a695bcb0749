#include "kernels/cuda/attention_cudnn.h"

#include <array>
#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "kernels/cuda/shared_library.h"

#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#define NV_CUDNN_FRONTEND_DISABLE_LOGGING
#include <cudnn_frontend.h>

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace conclave::kernels::cuda {
namespace {

namespace fe = cudnn_frontend;
using Graph = fe::graph::Graph;
using TensorSizes = std::vector<int64_t>;
using Node = std::shared_ptr<fe::graph::Tensor_attributes>;

enum Uid : int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv };

/// What a plan depends on. Heads and sequences are those of one part.
using Key = std::array<int64_t, 15>;

struct Part {
  int64_t batch, groups;  ///< sequences and key heads of one call
};

Part part_of(const LibraryAttention& a, AttentionPass pass) {
  if (pass == AttentionPass::kForward || !a.deterministic) return {a.batch, a.groups};
  const int64_t per_group = a.heads / a.groups * round_up(a.queries, 64) * round_up(a.keys, 128) * 2;
  if (per_group * a.groups * a.batch <= a.most_score_bytes) return {a.batch, a.groups};
  int64_t groups = 1;
  for (int64_t g = 1; g <= a.groups; ++g)
    if (a.groups % g == 0 && g * per_group <= a.most_score_bytes) groups = g;
  return {1, groups};
}

Key key_of(const LibraryAttention& a, AttentionPass pass) {
  return {static_cast<int64_t>(pass),
          a.batch,
          a.heads,
          a.groups,
          a.queries,
          a.keys,
          a.key_stride,
          a.size,
          a.value_size,
          a.causal ? 1 : 0,
          a.window,
          a.lse != nullptr ? 1 : 0,
          a.deterministic ? 1 : 0,
          a.most_score_bytes,
          std::bit_cast<int32_t>(a.scale)};
}

struct Plan {
  std::shared_ptr<Graph> graph;  ///< null where cuDNN does not take it
  int64_t workspace = -1;
};

/// The nodes of one call on a part of the heads and sequences.
class Builder {
 public:
  Builder(const LibraryAttention& a, const Part& part)
      : a_(a), batch_(part.batch), groups_(part.groups), heads_(part.groups * (a.heads / a.groups)) {
    graph_->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }

  std::shared_ptr<Graph> forward() {
    auto options = fe::graph::SDPA_attributes().set_name("attention").set_attn_scale(a_.scale);
    options.set_generate_stats(a_.lse != nullptr);
    mask(options);
    auto [out, lse] = graph_->sdpa(input(kQ, q_sizes(), q_strides()), input(kK, k_sizes(), k_strides()),
                                   input(kV, v_sizes(), v_strides()), options);
    output(out, kOut, out_sizes(), out_strides());
    if (a_.lse != nullptr) output(lse, kLse, lse_sizes(), lse_strides()).set_data_type(fe::DataType_t::FLOAT);
    return graph_;
  }

  std::shared_ptr<Graph> backward() {
    auto options = fe::graph::SDPA_backward_attributes().set_name("attention").set_attn_scale(a_.scale);
    options.set_deterministic_algorithm(a_.deterministic);
    mask(options);
    const Node lse = input(kLse, lse_sizes(), lse_strides());
    lse->set_data_type(fe::DataType_t::FLOAT);
    auto [dq, dk, dv] = graph_->sdpa_backward(
        input(kQ, q_sizes(), q_strides()), input(kK, k_sizes(), k_strides()), input(kV, v_sizes(), v_strides()),
        input(kOut, out_sizes(), out_strides()), input(kDout, out_sizes(), out_strides()), lse, options);
    output(dq, kDq, q_sizes(), q_strides());
    output(dk, kDk, k_sizes(), k_strides());
    output(dv, kDv, v_sizes(), v_strides());
    return graph_;
  }

 private:
  template <typename Options>
  void mask(Options& options) const {
    options.set_diagonal_alignment(fe::DiagonalAlignment_t::BOTTOM_RIGHT);
    if (a_.queries == a_.keys) options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT);
    if (a_.causal) options.set_diagonal_band_right_bound(0);
    if (a_.window > 0) options.set_diagonal_band_left_bound(static_cast<int>(a_.window));
  }
  Node input(Uid uid, const TensorSizes& sizes, const TensorSizes& strides) {
    return graph_->tensor(fe::graph::Tensor_attributes().set_uid(uid).set_dim(sizes).set_stride(strides));
  }
  static fe::graph::Tensor_attributes& output(const Node& node, Uid uid, const TensorSizes& sizes,
                                              const TensorSizes& strides) {
    return node->set_output(true).set_uid(uid).set_dim(sizes).set_stride(strides);
  }
  TensorSizes q_sizes() const { return {batch_, heads_, a_.queries, a_.size}; }
  TensorSizes q_strides() const { return {a_.heads * a_.queries * a_.size, a_.queries * a_.size, a_.size, 1}; }
  TensorSizes k_sizes() const { return {batch_, groups_, a_.keys, a_.size}; }
  TensorSizes k_strides() const { return {a_.groups * a_.key_stride * a_.size, a_.key_stride * a_.size, a_.size, 1}; }
  TensorSizes v_sizes() const { return {batch_, groups_, a_.keys, a_.value_size}; }
  TensorSizes v_strides() const {
    return {a_.groups * a_.key_stride * a_.value_size, a_.key_stride * a_.value_size, a_.value_size, 1};
  }
  // [S,B,n*Dv] seen as [B,n,S,Dv].
  TensorSizes out_sizes() const { return {batch_, heads_, a_.queries, a_.value_size}; }
  TensorSizes out_strides() const {
    return {a_.heads * a_.value_size, a_.value_size, a_.batch * a_.heads * a_.value_size, 1};
  }
  TensorSizes lse_sizes() const { return {batch_, heads_, a_.queries, 1}; }
  // Of a part, packed: where a part is less than a sequence, it is the only one.
  TensorSizes lse_strides() const { return {heads_ * a_.queries, a_.queries, 1, 1}; }

  const LibraryAttention& a_;
  int64_t batch_, groups_, heads_;
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>();
};

class Library {
 public:
  Library() {
    fe::cudnn_dlhandle = open_library("libcudnn.so.9");
    if (fe::cudnn_dlhandle == nullptr || fe::detail::create_handle(&handle_) != CUDNN_STATUS_SUCCESS) {
      handle_ = nullptr;
      log_info("cuDNN is not there: attention runs on kernels of ordinary arithmetic, which are slower");
    }
  }

  const Plan& plan(const LibraryAttention& a, AttentionPass pass) {
    const Key key = key_of(a, pass);
    const auto found = plans_.find(key);
    return found != plans_.end() ? found->second : plans_.emplace(key, make_plan(a, pass)).first->second;
  }

  void run(const LibraryAttention& a, AttentionPass pass, void* workspace, cudaStream_t stream) {
    const Plan& chosen = plan(a, pass);
    CONCLAVE_CHECK(chosen.graph != nullptr && fe::detail::set_stream(handle_, stream) == CUDNN_STATUS_SUCCESS,
                   "[kernels/attention] no plan of cuDNN");
    const Part part = part_of(a, pass);
    const int64_t shared = a.heads / a.groups;
    for (int64_t b = 0; b < a.batch; b += part.batch) {
      for (int64_t g = 0; g < a.groups; g += part.groups) {
        const int64_t query = (b * a.heads + g * shared) * a.queries, key = (b * a.groups + g) * a.key_stride;
        const int64_t out = (b * a.heads + g * shared) * a.value_size;
        std::unordered_map<int64_t, void*> tensors{{kQ, at(a.q, query * a.size)},
                                                   {kK, at(a.k, key * a.size)},
                                                   {kV, at(a.v, key * a.value_size)},
                                                   {kOut, at(a.out, out)},
                                                   {kLse, a.lse == nullptr ? nullptr : a.lse + query},
                                                   {kDout, at(a.dout, out)},
                                                   {kDq, at(a.dq, query * a.size)},
                                                   {kDk, at(a.dk, key * a.size)},
                                                   {kDv, at(a.dv, key * a.value_size)}};
        auto status = chosen.graph->execute(handle_, tensors, workspace);
        CONCLAVE_CHECK(status.is_good(), "[kernels/attention] cuDNN: {}", status.get_message());
      }
    }
  }

  std::mutex mutex;

 private:
  static void* at(const void* tensor, int64_t element) {
    return tensor == nullptr ? nullptr : static_cast<uint16_t*>(const_cast<void*>(tensor)) + element;
  }

  Plan make_plan(const LibraryAttention& a, AttentionPass pass) {
    Plan plan;
    if (handle_ == nullptr) return plan;
    Builder builder(a, part_of(a, pass));
    const std::shared_ptr<Graph> graph = pass == AttentionPass::kForward ? builder.forward() : builder.backward();
    auto status = graph->build(handle_, {fe::HeurMode_t::A});
    const char* const name = pass == AttentionPass::kForward ? "forward" : "backward";
    if (status.is_bad()) {
      log_info("attention {} {}x{} heads of {}/{}, {} queries, {} keys: not by cuDNN ({})", name, a.heads, a.groups,
               a.size, a.value_size, a.queries, a.keys, status.get_message());
      return plan;
    }
    plan.graph = graph;
    plan.workspace = graph->get_workspace_size();
    log_info("attention {} {}x{} heads of {}/{}, {} queries, {} keys: by cuDNN, plan 1 of {}, scratch {}", name,
             a.heads, a.groups, a.size, a.value_size, a.queries, a.keys, graph->get_execution_plan_count(),
             human_bytes(plan.workspace));
    return plan;
  }

  cudnnHandle_t handle_ = nullptr;  // never destroyed: the driver may be gone when the process ends
  std::map<Key, Plan> plans_;
};

Library& library() {
  static Library* const one = new Library;
  return *one;
}

}  // namespace

int64_t cudnn_attention_workspace(const LibraryAttention& sizes, AttentionPass pass) {
  const std::lock_guard lock(library().mutex);
  return library().plan(sizes, pass).workspace;
}

void cudnn_attention(const LibraryAttention& args, AttentionPass pass, void* workspace, cudaStream_t stream) {
  const std::lock_guard lock(library().mutex);
  library().run(args, pass, workspace, stream);
}

}  // namespace conclave::kernels::cuda
