// Rows that change ranks: all-to-all in a group with row counts that the host knows, perhaps on a side stream.
#pragma once

#include <memory>
#include <vector>

#include "moe/dispatch/dispatcher.h"

namespace conclave {

/// How many rows go to and come from each member.
struct RowExchange {
  Communicator* ranks = nullptr;
  std::vector<int64_t> send, receive;

  int64_t sent() const;
  int64_t received() const;
  RowExchange back() const { return {ranks, receive, send}; }
};

/// An exchange under way.
class RowsUnderWay {
 public:
  /// Starts on `stream`, the context's or one beside it: rows [sent,W] -> [received,W].
  RowsUnderWay(const Context& context, const Stream& stream, const RowExchange& exchange, const Tensor& rows,
               const char* name);
  /// The rows that came; the context's stream waits for them.
  Tensor arrived();

 private:
  Stream stream_;  ///< the context's
  Tensor out_;
  std::unique_ptr<Event> event_;  ///< none: in order
};

/// Starts, does the trip's other work meanwhile, waits.
Tensor exchange_rows(const Context& context, const RowExchange& exchange, const Tensor& rows, const Trip& trip);

/// Side streams of dispatch: between nodes (or all ranks), and inside a node.
Stream stream_across(const Context& context);
Stream stream_inside(const Context& context);

}  // namespace conclave
