#include "pipeline/stage_messages.h"

#include <utility>

namespace conclave {

const std::vector<MessageTensor>& message_tensors() {
  static const std::vector<MessageTensor> tensors = {{"hidden", &LayerMessage::hidden}};
  return tensors;
}

Shape hidden_shape(const ModelPart& part, const BatchInfo& batch, int64_t hidden) {
  const int64_t sequence = batch.sequence_length;  // of this rank's CP share
  return {part.sequence_parallel ? part.tensor.share(sequence) : sequence, batch.batch, hidden};
}

void StageMessages::put(ActionKind send, const ChunkStep& step, LayerMessage message) {
  to_send_[{send, step.micro_batch, step.chunk}] = std::move(message);
}

std::shared_ptr<Event> StageMessages::post(const std::vector<Transfer>& transfers, bool sends) {
  Communicator& group = groups_->of(GroupKind::kPipeline);
  constexpr const char* kName = "stage messages";
  if (timing_ == MessageTiming::kBetween) {
    group.exchange(stream_, transfers, kName);
    return nullptr;
  }
  std::unique_ptr<Stream>& stream = sends ? send_stream_ : receive_stream_;
  if (!stream) {
    stream = std::make_unique<Stream>(stream_.device().make_stream(sends ? "pipeline send" : "pipeline receive"));
  }
  if (sends && sent_) sent_->wait_on(stream_);
  // What is sent is made, and memory that is received into is free, once the compute stream is here.
  const std::unique_ptr<Event> here = stream_.device().make_event();
  here->record(stream_);
  here->wait_on(*stream);
  group.exchange(*stream, transfers, kName);
  std::shared_ptr<Event> done = stream_.device().make_event();
  done->record(*stream);
  if (sends) sent_ = done;
  return done;
}

void StageMessages::exchange(const std::vector<StepAction>& actions, const std::vector<Incoming>& incoming) {
  std::vector<Transfer> transfers;
  std::vector<Received*> receives;
  size_t next = 0;
  for (const StepAction& action : actions) {
    const Key key{action.kind, action.micro_batch, action.chunk};
    const auto peer = static_cast<int>(action.peer);
    if (is_send(action)) {
      const auto found = to_send_.find(key);
      CONCLAVE_CHECK(found != to_send_.end(), "[pipeline] nothing was made for {}", step_text({action}));
      for (const MessageTensor& part : message_tensors())
        transfers.push_back({Transfer::Direction::kSend, peer, found->second.*part.tensor});
      to_send_.erase(found);
      continue;
    }
    const Incoming& expected = incoming.at(next++);
    Received& place = received_[key];
    for (const MessageTensor& part : message_tensors()) {
      place.message.*part.tensor = Tensor::empty(stream_.device(), expected.shape, expected.dtype,
                                                 {MemoryCategory::kActivations, "stage message"});
      transfers.push_back({Transfer::Direction::kReceive, peer, place.message.*part.tensor});
    }
    receives.push_back(&place);
  }
  CONCLAVE_CHECK(timing_ == MessageTiming::kBetween || receives.empty() || receives.size() == actions.size(),
                 "[pipeline] sends and receives are mixed in an early exchange: {}", step_text(actions));
  const std::shared_ptr<Event> done = post(transfers, receives.empty());
  for (Received* received : receives) received->done = done;
}

LayerMessage StageMessages::take(ActionKind receive, const ChunkStep& step) {
  const auto found = received_.find({receive, step.micro_batch, step.chunk});
  CONCLAVE_CHECK(found != received_.end(), "[pipeline] {} was not posted",
                 step_text({{receive, step.micro_batch, step.chunk}}));
  Received received = std::move(found->second);
  received_.erase(found);
  if (received.done) received.done->wait_on(stream_);
  return std::move(received.message);
}

void StageMessages::finish() {
  if (sent_) sent_->wait_on(stream_);
  sent_.reset();
  CONCLAVE_CHECK(to_send_.empty() && received_.empty(), "[pipeline] {} messages were not sent and {} not taken",
                 to_send_.size(), received_.size());
}

void StageMessages::clear() {
  sent_.reset();
  to_send_.clear();
  received_.clear();
}

}  // namespace conclave
