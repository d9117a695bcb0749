// What the stages of a pipeline send each other: the tensors of a LayerMessage, or their gradients, between the ranks
// of the pipeline group. Messages are posted in the order of a step list (schedule/pipeline_step.h).
//
// kBetween: an exchange is done when the call returns. kEarly: sends and receives run on two streams of their own, a
// receive is waited for when its tensors are taken, a send when the next one begins; so no rank holds more than one
// sent message, and memory comes back at the same places of the program in every run.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "models/gpt.h"
#include "nn/context.h"
#include "schedule/pipeline_step.h"

namespace conclave {

/// A tensor that travels, and its name.
struct MessageTensor {
  const char* name;
  Tensor LayerMessage::*tensor;
};
const std::vector<MessageTensor>& message_tensors();

/// Shape of `hidden` on this rank: [S/CP, B, H], with sequence parallelism [S/(TP*CP), B, H].
Shape hidden_shape(const ModelPart& part, const BatchInfo& batch, int64_t hidden);

class StageMessages {
 public:
  StageMessages(const Stream& stream, ProcessGroups& groups, MessageTiming timing)
      : stream_(stream), groups_(&groups), timing_(timing) {}

  /// Keeps what work made until it is sent.
  void put(ActionKind send, const ChunkStep& step, LayerMessage message);
  /// Posts one exchange (actions that are together). `shape` tells of a receive how large its tensors are.
  struct Incoming {
    Shape shape;  ///< [S,B,H]
    DType dtype = DType::kF32;
  };
  void exchange(const std::vector<StepAction>& actions, const std::vector<Incoming>& incoming);
  /// What was received; waits for it.
  LayerMessage take(ActionKind receive, const ChunkStep& step);

  /// After a step: waits for the last send; everything was sent and taken.
  void finish();
  /// Forgets everything: a step that failed.
  void clear();

 private:
  using Key = std::tuple<ActionKind, int64_t, int64_t>;  // micro-batch, chunk
  struct Received {
    LayerMessage message;
    std::shared_ptr<Event> done;  // kEarly
  };
  Stream stream_;
  ProcessGroups* groups_;
  MessageTiming timing_;
  std::unique_ptr<Stream> send_stream_, receive_stream_;  // made when first used
  std::shared_ptr<Event> sent_;                           // the last send
  std::map<Key, LayerMessage> to_send_;
  std::map<Key, Received> received_;

  std::shared_ptr<Event> post(const std::vector<struct Transfer>& transfers, bool sends);
};

}  // namespace conclave
