#include "moe/routing_replay.h"

namespace conclave {

Tensor RoutingTape::forced(const Context&, const std::string& router) {
  if (mode_ != Mode::kReplay) return {};
  std::deque<Tensor>& recordings = recordings_[router];
  CONCLAVE_USER_CHECK(
      !recordings.empty(),
      "[moe/replay] the recording of '{}' is at its end; replay no more micro-batches than were recorded", router);
  Tensor experts = recordings.front();
  recordings.pop_front();
  return experts;
}

void RoutingTape::taken(const Context&, const std::string& router, const Tensor& experts) {
  // A routing is never changed after it was made, so the tensor itself is the recording.
  if (mode_ == Mode::kRecord) recordings_[router].push_back(experts);
}

}  // namespace conclave
