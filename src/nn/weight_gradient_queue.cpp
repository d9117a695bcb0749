#include "nn/weight_gradient_queue.h"

#include <utility>

#include "base/error.h"

namespace conclave {

void WeightGradientQueue::add(int64_t micro_batch, Work work) {
  if (mode_ == Mode::kAtOnce) {
    work();
  } else {
    items_.push_back({micro_batch, std::move(work)});
  }
}

void WeightGradientQueue::run(int64_t micro_batch) {
  while (!items_.empty() && items_.front().micro_batch == micro_batch) {
    Item item = std::move(items_.front());
    items_.pop_front();
    item.work();
  }
  for (const Item& item : items_) {
    CONCLAVE_CHECK(
        item.micro_batch != micro_batch,
        "weight gradients of micro-batch {} wait behind those of {}: a schedule must run them in micro-batch order",
        micro_batch, items_.front().micro_batch);
  }
}

void WeightGradientQueue::run_all() {
  while (!items_.empty()) {
    Item item = std::move(items_.front());
    items_.pop_front();
    item.work();
  }
}

}  // namespace conclave
