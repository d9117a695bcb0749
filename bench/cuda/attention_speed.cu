// The backward pass of attention by cuDNN, with and without the demand for the same bits in every run: attention_speed.
#include <cmath>
#include <cstdio>

#include "gpu_timing.h"
#include "kernels/cuda/attention_cudnn.h"

namespace conclave::kernels::cuda {
namespace {

struct Heads {
  const char* name;
  int64_t batch, heads, groups, sequence, size, value_size, window;
};

class Case {
 public:
  explicit Case(const Heads& h)
      : h_(h),
        q_(h.batch * h.heads * h.sequence * h.size),
        k_(h.batch * h.groups * h.sequence * h.size),
        v_(h.batch * h.groups * h.sequence * h.value_size),
        out_(h.batch * h.heads * h.sequence * h.value_size),
        dout_(out_.count()),
        dq_(q_.count()),
        dk_(k_.count()),
        dv_(v_.count()),
        lse_(h.batch * h.heads * h.sequence) {
    fill(q_, 1);
    fill(k_, 2);
    fill(v_, 3);
    fill(dout_, 4);
    call_.batch = h.batch;
    call_.heads = h.heads;
    call_.groups = h.groups;
    call_.queries = call_.keys = call_.key_stride = h.sequence;
    call_.size = h.size;
    call_.value_size = h.value_size;
    call_.window = h.window;
    call_.scale = 1 / std::sqrt(static_cast<float>(h.size));
    call_.q = q_.data();
    call_.k = k_.data();
    call_.v = v_.data();
    call_.out = out_.data();
    call_.lse = lse_.data();
  }

  void run() {
    time("forward", AttentionPass::kForward, static_cast<double>(h_.size + h_.value_size));
    call_.dout = dout_.data();
    call_.dq = dq_.data();
    call_.dk = dk_.data();
    call_.dv = dv_.data();
    call_.deterministic = false;
    backward("backward, any bits");
    call_.deterministic = true;
    backward("backward, same bits");
    // Fewer and larger parts.
    for (const int64_t gigabytes : {1, 2, 4}) {
      call_.most_score_bytes = gigabytes << 30;
      backward("backward, same bits");
    }
  }

 private:
  void backward(const char* pass) {
    if (time(pass, AttentionPass::kBackward, static_cast<double>(3 * h_.size + 2 * h_.value_size)))
      std::printf("  %d of 5 more runs differ\n", runs_that_differ());
  }
  bool time(const char* pass, AttentionPass which, double factor) {
    const int64_t scratch_bytes = cudnn_attention_workspace(call_, which);
    if (scratch_bytes < 0) {
      std::printf("%-28s %-20s not by cuDNN\n", h_.name, pass);
      return false;
    }
    const Buffer<uint8_t> scratch(scratch_bytes);
    run_ = [this, which](void* memory) { cudnn_attention(call_, which, memory, nullptr); };
    scratch_bytes_ = scratch_bytes;
    const double seconds = rested_seconds([&] { run_(scratch.data()); }, 9);
    const double pairs = static_cast<double>(h_.batch * h_.heads * h_.sequence * h_.sequence) / 2;
    std::printf("%-28s %-20s %8.3f ms %6.0f TFLOP/s, scratch %.1f MiB\n", h_.name, pass, seconds * 1e3,
                2 * pairs * factor / seconds * 1e-12, static_cast<double>(scratch_bytes) / (1 << 20));
    std::fflush(stdout);
    return true;
  }
  int runs_that_differ() {
    const Buffer<uint8_t> scratch(scratch_bytes_);
    const std::vector<uint16_t> first = bits(scratch.data());
    int different = 0;
    for (int i = 0; i < 5; ++i) different += bits(scratch.data()) == first ? 0 : 1;
    return different;
  }
  std::vector<uint16_t> bits(void* scratch) {
    run_(scratch);
    std::vector<uint16_t> all;
    for (const Buffer<__nv_bfloat16>* one : {&dq_, &dk_, &dv_}) {
      const size_t at = all.size();
      all.resize(at + static_cast<size_t>(one->count()));
      CONCLAVE_CUDA(
          cudaMemcpy(all.data() + at, one->data(), static_cast<size_t>(one->count()) * 2, cudaMemcpyDeviceToHost));
    }
    return all;
  }

  Heads h_;
  Buffer<__nv_bfloat16> q_, k_, v_, out_, dout_, dq_, dk_, dv_;
  Buffer<float> lse_;
  LibraryAttention call_;
  std::function<void(void*)> run_;
  int64_t scratch_bytes_ = 0;
};

}  // namespace
}  // namespace conclave::kernels::cuda

int main() {
  using conclave::kernels::cuda::Case;
  using conclave::kernels::cuda::Heads;
  try {
    for (const Heads& heads : {Heads{"mixtral 4 x 32/8 d128", 4, 32, 8, 4096, 128, 128, 0},
                               Heads{"qwen3 4 x 32/4 d128", 4, 32, 4, 4096, 128, 128, 0},
                               Heads{"latent 1 x 128 d192/128", 1, 128, 128, 4096, 192, 128, 0},
                               Heads{"window 1024 4 x 32/8 d128", 4, 32, 8, 4096, 128, 128, 1024},
                               Heads{"long 1 x 32/8 d128", 1, 32, 8, 16384, 128, 128, 0}})
      Case(heads).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
  return 0;
}
