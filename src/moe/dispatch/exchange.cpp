#include "moe/dispatch/exchange.h"

#include <numeric>
#include <utility>

namespace conclave {

int64_t RowExchange::sent() const { return std::accumulate(send.begin(), send.end(), int64_t{0}); }
int64_t RowExchange::received() const { return std::accumulate(receive.begin(), receive.end(), int64_t{0}); }

Stream stream_across(const Context& context) { return context.device().side_stream("dispatch"); }
Stream stream_inside(const Context& context) { return context.device().side_stream("dispatch inside node"); }

RowsUnderWay::RowsUnderWay(const Context& context, const Stream& stream, const RowExchange& exchange,
                           const Tensor& rows, const char* name)
    : stream_(context.stream), out_(context.empty({exchange.received(), rows.size(1)}, rows.dtype(), name)) {
  const bool beside = stream.native() != stream_.native();
  if (beside) {
    event_ = context.device().make_event();
    event_->record(stream_);
    event_->wait_on(stream);
  }
  exchange.ranks->all_to_all_rows(stream, rows, exchange.send, out_, exchange.receive, name);
  if (beside) event_->record(stream);
}

Tensor RowsUnderWay::arrived() {
  if (event_) event_->wait_on(stream_);
  event_.reset();
  return std::move(out_);
}

Tensor exchange_rows(const Context& context, const RowExchange& exchange, const Tensor& rows, const Trip& trip) {
  RowsUnderWay under_way(context, trip.meanwhile ? stream_across(context) : context.stream, exchange, rows, trip.name);
  if (trip.meanwhile) trip.meanwhile();
  return under_way.arrived();
}

}  // namespace conclave
