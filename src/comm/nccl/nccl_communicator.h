// A group whose members have GPUs.
//
// Bytes travel by NCCL; sums are made here, because the contract of comm fixes their order and NCCL's rings do not.
// Three of NCCL's communicators carry a group: one for collectives, made by the first of them; one for messages to
// higher and one for messages to lower members, so that the two directions never wait for each other, made by the first
// exchange, in which all members take part.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/call.h"
#include "comm/gpu_transport.h"
#include "comm/nccl/gpu_watch.h"
#include "comm/nccl/nccl_library.h"

namespace conclave {

namespace nccl {

/// What carries the groups of the same members.
struct Links {
  ncclComm_t collectives = nullptr, upward = nullptr, downward = nullptr;
  cudaStream_t beside = nullptr;  ///< messages to lower members, while those to higher ones are under way
  cudaEvent_t fork = nullptr, join = nullptr;

  Links() = default;
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;
};

}  // namespace nccl

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, const GpuTransport& transport);

  void prepare(const Stream& stream, Use use) override;

 protected:
  void submit(const Stream& stream, CollectiveCall call) override;
  void wait_for_all(CollectiveCall call) override;

 private:
  using Handle = ncclComm_t;
  std::unique_ptr<Communicator> host_;
  const GpuTransport& transport_;
  std::unique_ptr<Device> host_device_;
  std::shared_ptr<nccl::GpuWatch> watch_;
  std::shared_ptr<nccl::Links> links_;

  static void copy_alone(const Stream& stream, const CollectiveCall& call);
  void submit_on_host(const Stream& stream, const CollectiveCall& call);
  void compare_calls(const CollectiveCall& call);
  Handle meet(const Stream& stream, const std::function<bool(int from, int to)>& linked);

  void carry_out(const Stream& stream, const CollectiveCall& call, const Tensor& staging);
  int64_t staging_elements(const CollectiveCall& call) const;
  std::vector<int64_t> begins_of_pieces(const CollectiveCall& call) const;
  int64_t chunk_elements(const CollectiveCall& call) const;
  bool is_short(const CollectiveCall& call) const;

  void all_reduce_short(const Stream& stream, const CollectiveCall& call, const Tensor& staging);
  void reduce_pieces(const Stream& stream, const CollectiveCall& call, const Tensor& staging);
  void gather_pieces(const Stream& stream, const Tensor& in, const Tensor& out, std::span<const int64_t> begins);
  void all_to_all(const Stream& stream, const CollectiveCall& call);
  void exchange_all(const Stream& stream, const CollectiveCall& call);
  void post(const CollectiveCall& call, bool upward, cudaStream_t stream);
};

}  // namespace conclave
