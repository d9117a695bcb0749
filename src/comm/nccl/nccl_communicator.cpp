#include "comm/nccl/nccl_communicator.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "device/cuda/cuda_check.h"
#include "device/cuda/cuda_stream.h"
#include "kernels/ordered_reduce.h"

namespace conclave {
namespace {

constexpr int64_t kStagingBytes = 64 << 20;  // of a reduction, at most (one element of each member, at least)
constexpr int64_t kShortBytes = 32 << 10;    // everybody sums everything: one round instead of two

kernels::ReduceRule rule_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return kernels::ReduceRule::kSum;
    case ReduceOp::kMax:
      return kernels::ReduceRule::kMax;
    default:
      return kernels::ReduceRule::kMin;
  }
}

std::vector<int64_t> begins_of(const std::vector<int64_t>& lengths) {
  std::vector<int64_t> begins(lengths.size() + 1, 0);
  std::partial_sum(lengths.begin(), lengths.end(), begins.begin() + 1);
  return begins;
}

bool goes_up(const Transfer& transfer, int rank) {
  return (transfer.direction == Transfer::Direction::kSend) == (transfer.peer > rank);
}

}  // namespace

std::unique_ptr<Communicator> with_gpu_transport(std::unique_ptr<Communicator> host, const GpuTransport& transport) {
  return std::make_unique<NcclCommunicator>(std::move(host), transport);
}

bool gpu_transport_is_built_in() { return true; }

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> host, const GpuTransport& transport)
    : Communicator(host->group(), host->world_ranks(), host->rank()), host_(std::move(host)), transport_(transport) {}

nccl::Links::~Links() {
  for (ncclComm_t handle : {collectives, upward, downward}) {
    if (handle != nullptr) library().destroy(handle);
  }
  if (beside != nullptr) cudaStreamDestroy(beside);
  for (cudaEvent_t event : {fork, join}) {
    if (event != nullptr) cudaEventDestroy(event);
  }
}

void NcclCommunicator::wait_for_all(CollectiveCall call) { host_->barrier(call.name.c_str()); }

void NcclCommunicator::submit(const Stream& stream, CollectiveCall call) {
  if (stream.device().kind() != DeviceKind::kCuda) return submit_on_host(stream, call);
  if (size() == 1) return copy_alone(stream, call);
  prepare(stream, call.kind == CollectiveKind::kExchange ? Use::kAlsoExchanges : Use::kCollectives);
  if (transport_.settings().check_collectives) compare_calls(call);
  const int64_t elements = staging_elements(call);
  Tensor staging;
  if (elements > 0) {
    Device& device = stream.device();
    staging = Tensor::empty(device, {elements}, call.in.dtype(), {MemoryCategory::kWorkspace, "comm"});
    if (!stream.is_default()) {
      // The memory is free only after what the default stream has still to do.
      const std::unique_ptr<Event> free = device.make_event();
      free->record(device.default_stream());
      free->wait_on(stream);
    }
  }
  stream.device().run_on(stream, [this, stream, call, staging] { carry_out(stream, call, staging); });
  const bool exchanges = call.kind == CollectiveKind::kExchange;
  watch_->add(
      cuda_stream(stream),
      exchanges ? std::vector<Handle>{links_->upward, links_->downward} : std::vector<Handle>{links_->collectives},
      describe(header_for(call, group(), rank())));
}

void NcclCommunicator::copy_alone(const Stream& stream, const CollectiveCall& call) {
  if (!call.in.defined() || call.in.raw() == call.out.raw() || call.in.bytes() == 0) return;
  stream.device().run_on(stream, [stream, call] {
    CONCLAVE_CUDA(cudaMemcpyAsync(call.out.raw(), call.in.raw(), static_cast<size_t>(call.in.bytes()),
                                  cudaMemcpyDeviceToDevice, cuda_stream(stream)));
  });
}

void NcclCommunicator::submit_on_host(const Stream& stream, const CollectiveCall& call) {
  const char* name = call.name.c_str();
  switch (call.kind) {
    case CollectiveKind::kAllReduce:
      return host_->all_reduce(stream, call.in, call.op, name);
    case CollectiveKind::kReduceScatter:
      return host_->reduce_scatter(stream, call.in, call.send, call.out, name);
    case CollectiveKind::kAllGather:
      return host_->all_gather(stream, call.in, call.receive, call.out, name);
    case CollectiveKind::kAllToAll:
      return host_->all_to_all_rows(stream, call.in.view({call.in.element_count()}), call.send,
                                    call.out.view({call.out.element_count()}), call.receive, name);
    case CollectiveKind::kBroadcast:
      return host_->broadcast(stream, call.in, call.root, name);
    case CollectiveKind::kExchange:
      return host_->exchange(stream, call.transfers, name);
    case CollectiveKind::kBarrier:
      return host_->barrier(name);
  }
}

// --check-collectives: an empty collective of the hosts, whose name says all that members must agree on.
void NcclCommunicator::compare_calls(const CollectiveCall& call) {
  if (call.kind == CollectiveKind::kExchange) return;  // not a meeting of all members
  const bool whole = call.kind == CollectiveKind::kAllReduce || call.kind == CollectiveKind::kBroadcast;
  const std::string name = fmt::format("{} {} {}{}", call.name, collective_name(call.kind), dtype_name(call.in.dtype()),
                                       whole ? fmt::format(" {}", call.in.element_count()) : "");
  const Tensor nothing = Tensor::empty(*host_device_, {0}, DType::kU8, {MemoryCategory::kWorkspace, "comm"});
  host_->all_gather(host_device_->default_stream(), nothing, nothing, name.c_str());
}

// NCCL makes a link when it first carries something, and its two hosts wait for each other then; here a byte goes over
// each, while all members are at the same place.
NcclCommunicator::Handle NcclCommunicator::meet(const Stream& stream,
                                                const std::function<bool(int from, int to)>& linked) {
  ncclUniqueId id{};
  if (rank() == 0) nccl::check(nccl::library().get_unique_id(&id), "ncclGetUniqueId");
  const auto bytes = static_cast<int64_t>(sizeof id);
  const Tensor x = Tensor::empty(*host_device_, {bytes}, DType::kU8, {MemoryCategory::kWorkspace, "comm"});
  const Stream host_stream = host_device_->default_stream();
  host_device_->copy_from_host(host_stream, x.raw(), &id, bytes);
  host_->broadcast(host_stream, x, 0, "NCCL's id");
  host_device_->copy_to_host(host_stream, &id, x.raw(), bytes);
  Handle handle = nullptr;
  nccl::check(nccl::library().init_rank(&handle, size(), id, rank()), "ncclCommInitRank");

  const Tensor words = Tensor::empty(stream.device(), {2 * size()}, DType::kU8, {MemoryCategory::kWorkspace, "comm"});
  nccl::Group group;
  for (int peer = 0; peer < size(); ++peer) {
    if (linked(rank(), peer))
      nccl::check(nccl::library().send(words.raw(), 1, ncclUint8, peer, handle, cuda_stream(stream)), "ncclSend");
    if (linked(peer, rank()))
      nccl::check(nccl::library().receive(words.raw() + size() + peer, 1, ncclUint8, peer, handle, cuda_stream(stream)),
                  "ncclRecv");
  }
  group.end();
  stream.device().synchronize();
  return handle;
}

void NcclCommunicator::prepare(const Stream& stream, Use use) {
  if (stream.device().kind() != DeviceKind::kCuda || size() == 1) return;
  if (!links_) {
    static std::map<std::vector<int64_t>, std::weak_ptr<nccl::Links>> known;
    host_device_ = make_device("cpu");
    watch_ = nccl::GpuWatch::shared(transport_);
    std::weak_ptr<nccl::Links>& here = known[world_ranks()];
    links_ = here.lock();
    if (!links_) here = links_ = std::make_shared<nccl::Links>();
  }
  const Stream first = stream.device().default_stream();
  if (links_->collectives == nullptr) {
    links_->collectives = meet(first, [](int, int) { return true; });
    const Tensor words = Tensor::empty(stream.device(), {size()}, DType::kU8, {MemoryCategory::kWorkspace, "comm"});
    nccl::check(nccl::library().all_gather(words.raw() + rank(), words.raw(), 1, ncclUint8, links_->collectives,
                                           cuda_stream(first)),
                "ncclAllGather");
    nccl::check(
        nccl::library().broadcast(words.raw(), words.raw(), 1, ncclUint8, 0, links_->collectives, cuda_stream(first)),
        "ncclBroadcast");
    stream.device().synchronize();
  }
  if (use != Use::kAlsoExchanges || links_->upward != nullptr) return;
  links_->upward = meet(first, [](int from, int to) { return from < to; });
  links_->downward = meet(first, [](int from, int to) { return from > to; });
  CONCLAVE_CUDA(cudaStreamCreateWithFlags(&links_->beside, cudaStreamNonBlocking));
  for (cudaEvent_t* event : {&links_->fork, &links_->join})
    CONCLAVE_CUDA(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
}

void NcclCommunicator::carry_out(const Stream& stream, const CollectiveCall& call, const Tensor& staging) {
  switch (call.kind) {
    case CollectiveKind::kAllReduce: {
      if (is_short(call)) return all_reduce_short(stream, call, staging);
      reduce_pieces(stream, call, staging);
      const std::vector<int64_t> begins = begins_of_pieces(call);
      const auto mine = static_cast<size_t>(rank());
      return gather_pieces(stream, call.in.flat_slice(begins[mine], begins[mine + 1] - begins[mine]), call.out, begins);
    }
    case CollectiveKind::kReduceScatter:
      return reduce_pieces(stream, call, staging);
    case CollectiveKind::kAllGather:
      return gather_pieces(stream, call.in, call.out, begins_of(call.receive));
    case CollectiveKind::kAllToAll:
      return all_to_all(stream, call);
    case CollectiveKind::kBroadcast:
      return nccl::check(nccl::library().broadcast(call.in.raw(), call.out.raw(), static_cast<size_t>(call.in.bytes()),
                                                   ncclUint8, call.root, links_->collectives, cuda_stream(stream)),
                         "ncclBroadcast");
    case CollectiveKind::kExchange:
      return exchange_all(stream, call);
    case CollectiveKind::kBarrier:
      return;
  }
}

bool NcclCommunicator::is_short(const CollectiveCall& call) const {
  return call.kind == CollectiveKind::kAllReduce && call.in.bytes() * size() <= kShortBytes * 8 &&
         call.in.bytes() <= kShortBytes;
}

// Of a reduction: piece r is what member r sums.
std::vector<int64_t> NcclCommunicator::begins_of_pieces(const CollectiveCall& call) const {
  if (call.kind == CollectiveKind::kReduceScatter) return begins_of(call.send);
  std::vector<int64_t> begins(static_cast<size_t>(size()) + 1);
  for (int r = 0; r <= size(); ++r) begins[static_cast<size_t>(r)] = call.in.element_count() * r / size();
  return begins;
}

int64_t NcclCommunicator::chunk_elements(const CollectiveCall& call) const {
  const std::vector<int64_t> begins = begins_of_pieces(call);
  int64_t longest = 0;
  for (size_t r = 0; r + 1 < begins.size(); ++r) longest = std::max(longest, begins[r + 1] - begins[r]);
  // Whole 16 bytes, so that sums go by as many.
  return std::min(round_up(longest, 16),
                  std::max<int64_t>(kStagingBytes / size() / dtype_size(call.in.dtype()) / 16 * 16, 16));
}

int64_t NcclCommunicator::staging_elements(const CollectiveCall& call) const {
  if (is_short(call)) return call.in.element_count() * size();
  const bool reduces = call.kind == CollectiveKind::kAllReduce || call.kind == CollectiveKind::kReduceScatter;
  return reduces ? chunk_elements(call) * size() : 0;
}

void NcclCommunicator::all_reduce_short(const Stream& stream, const CollectiveCall& call, const Tensor& staging) {
  const int64_t bytes = call.in.bytes();
  if (bytes == 0) return;
  nccl::check(nccl::library().all_gather(call.in.raw(), staging.raw(), static_cast<size_t>(bytes), ncclUint8,
                                         links_->collectives, cuda_stream(stream)),
              "ncclAllGather");
  kernels::ordered_reduce_on_gpu(stream, {.pieces = staging.raw(),
                                          .piece_bytes = bytes,
                                          .piece_count = size(),
                                          .out = call.out.raw(),
                                          .count = call.in.element_count(),
                                          .dtype = call.in.dtype(),
                                          .rule = rule_of(call.op)});
}

// My piece of everybody arrives in the staging area, side by side, a chunk at a time, and is summed into the output.
void NcclCommunicator::reduce_pieces(const Stream& stream, const CollectiveCall& call, const Tensor& staging) {
  const std::vector<int64_t> begins = begins_of_pieces(call);
  const int64_t width = dtype_size(call.in.dtype()), chunk = chunk_elements(call);
  const auto length = [&](int r) { return begins[static_cast<size_t>(r) + 1] - begins[static_cast<size_t>(r)]; };
  int64_t longest = 0;
  for (int r = 0; r < size(); ++r) longest = std::max(longest, length(r));
  const bool in_place = call.kind == CollectiveKind::kAllReduce;
  std::byte* const out = call.out.raw() + (in_place ? begins[static_cast<size_t>(rank())] * width : 0);
  for (int64_t first = 0; first < longest; first += chunk) {
    const auto count_of = [&](int r) { return std::clamp<int64_t>(length(r) - first, 0, chunk); };
    const int64_t mine = count_of(rank());
    nccl::Group group;
    for (int r = 0; r < size(); ++r) {
      const std::byte* from = call.in.raw() + (begins[static_cast<size_t>(r)] + first) * width;
      if (count_of(r) > 0) {
        nccl::check(nccl::library().send(from, static_cast<size_t>(count_of(r) * width), ncclUint8, r,
                                         links_->collectives, cuda_stream(stream)),
                    "ncclSend");
      }
      if (mine > 0) {
        nccl::check(nccl::library().receive(staging.raw() + r * chunk * width, static_cast<size_t>(mine * width),
                                            ncclUint8, r, links_->collectives, cuda_stream(stream)),
                    "ncclRecv");
      }
    }
    group.end();
    kernels::ordered_reduce_on_gpu(stream, {.pieces = staging.raw(),
                                            .piece_bytes = chunk * width,
                                            .piece_count = size(),
                                            .out = out + first * width,
                                            .count = mine,
                                            .dtype = call.in.dtype(),
                                            .rule = rule_of(call.op)});
  }
}

void NcclCommunicator::gather_pieces(const Stream& stream, const Tensor& in, const Tensor& out,
                                     std::span<const int64_t> begins) {
  const int64_t width = dtype_size(out.dtype()), length = begins[1] - begins[0];
  bool alike = true;
  for (size_t r = 0; r + 1 < begins.size(); ++r) alike = alike && begins[r + 1] - begins[r] == length;
  if (alike) {
    if (length == 0) return;
    return nccl::check(nccl::library().all_gather(in.raw(), out.raw(), static_cast<size_t>(length * width), ncclUint8,
                                                  links_->collectives, cuda_stream(stream)),
                       "ncclAllGather");
  }
  nccl::Group group;
  for (int r = 0; r < size(); ++r) {
    const int64_t begin = begins[static_cast<size_t>(r)], count = begins[static_cast<size_t>(r) + 1] - begin;
    std::byte* const to = out.raw() + begin * width;
    if (count == 0) continue;
    nccl::check(nccl::library().broadcast(r == rank() ? in.raw() : to, to, static_cast<size_t>(count * width),
                                          ncclUint8, r, links_->collectives, cuda_stream(stream)),
                "ncclBroadcast");
  }
  group.end();
}

void NcclCommunicator::all_to_all(const Stream& stream, const CollectiveCall& call) {
  const std::vector<int64_t> from = begins_of(call.send), to = begins_of(call.receive);
  const int64_t width = dtype_size(call.in.dtype());
  nccl::Group group;
  for (int r = 0; r < size(); ++r) {
    const auto at = static_cast<size_t>(r);
    if (call.send[at] > 0) {
      nccl::check(nccl::library().send(call.in.raw() + from[at] * width, static_cast<size_t>(call.send[at] * width),
                                       ncclUint8, r, links_->collectives, cuda_stream(stream)),
                  "ncclSend");
    }
    if (call.receive[at] > 0) {
      nccl::check(
          nccl::library().receive(call.out.raw() + to[at] * width, static_cast<size_t>(call.receive[at] * width),
                                  ncclUint8, r, links_->collectives, cuda_stream(stream)),
          "ncclRecv");
    }
  }
  group.end();
}

void NcclCommunicator::exchange_all(const Stream& stream, const CollectiveCall& call) {
  const auto up = [&](const Transfer& transfer) { return goes_up(transfer, rank()); };
  const bool any_up = std::any_of(call.transfers.begin(), call.transfers.end(), up);
  const bool all_up = std::all_of(call.transfers.begin(), call.transfers.end(), up);
  const cudaStream_t here = cuda_stream(stream);
  if (!any_up || all_up) return post(call, any_up, here);
  CONCLAVE_CUDA(cudaEventRecord(links_->fork, here));
  CONCLAVE_CUDA(cudaStreamWaitEvent(links_->beside, links_->fork, 0));
  post(call, true, here);
  post(call, false, links_->beside);
  CONCLAVE_CUDA(cudaEventRecord(links_->join, links_->beside));
  CONCLAVE_CUDA(cudaStreamWaitEvent(here, links_->join, 0));
}

void NcclCommunicator::post(const CollectiveCall& call, bool upward, cudaStream_t stream) {
  const Handle handle = upward ? links_->upward : links_->downward;
  nccl::Group group;
  for (const Transfer& transfer : call.transfers) {
    if (goes_up(transfer, rank()) != upward || transfer.tensor.bytes() == 0) continue;
    const auto bytes = static_cast<size_t>(transfer.tensor.bytes());
    if (transfer.direction == Transfer::Direction::kSend) {
      nccl::check(nccl::library().send(transfer.tensor.raw(), bytes, ncclUint8, transfer.peer, handle, stream),
                  "ncclSend");
    } else {
      nccl::check(nccl::library().receive(transfer.tensor.raw(), bytes, ncclUint8, transfer.peer, handle, stream),
                  "ncclRecv");
    }
  }
  group.end();
}

}  // namespace conclave
