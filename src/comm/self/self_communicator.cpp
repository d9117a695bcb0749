#include "comm/communicator.h"
#include "kernels/elementwise.h"

namespace conclave {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  explicit SelfCommunicator(std::string group) : group_(std::move(group)) {}
  const std::string& group() const override { return group_; }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(const Stream&, const Tensor&, ReduceOp, const char*) override {}
  void reduce_scatter(const Stream& stream, const Tensor& in, const Tensor& out, const char*) override {
    copy(stream, in, out);
  }
  void all_gather(const Stream& stream, const Tensor& in, const Tensor& out, const char*) override {
    copy(stream, in, out);
  }
  void all_to_all_rows(const Stream& stream, const Tensor& in, const std::vector<int64_t>&, const Tensor& out,
                       const std::vector<int64_t>&, const char*) override {
    copy(stream, in, out);
  }
  void broadcast(const Stream&, const Tensor&, int, const char*) override {}
  void barrier(const char*) override {}

 private:
  std::string group_;
  static void copy(const Stream& stream, const Tensor& in, const Tensor& out) {
    if (in.raw() != out.raw() || in.raw() == nullptr) kernels::cast(stream, {.x = in, .y = out});
  }
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(const std::string& group) {
  return std::make_unique<SelfCommunicator>(group);
}

}  // namespace conclave
