#include "device/side_stream.h"

#include <pthread.h>

#include <chrono>

#include "base/error.h"

namespace conclave {
namespace {

thread_local SideStream* running_here = nullptr;

SideStream* side(const Stream& stream) { return static_cast<SideStream*>(stream.native()); }

class StreamEvent final : public Event {
 public:
  void record(const Stream& stream) override {
    stream_ = side(stream);
    ticket_ = stream_ == nullptr ? 0 : stream_->last_ticket();
  }
  void wait_on(const Stream& stream) override {
    if (stream_ == nullptr || stream_ == side(stream)) return;
    if (stream.is_default()) {
      stream_->wait(ticket_);
    } else {
      side(stream)->enqueue_wait(*stream_, ticket_);
    }
  }
  void synchronize() override {
    if (stream_ != nullptr) stream_->wait(ticket_);
  }
  bool is_reached() const override { return stream_ == nullptr || stream_->is_done(ticket_); }

 private:
  SideStream* stream_ = nullptr;  // nothing: the default stream, whose work is done
  int64_t ticket_ = 0;
};

}  // namespace

SideStream::SideStream(const std::string& name, Mode mode)
    : mode_(mode), exceptions_at_start_(std::uncaught_exceptions()) {
  if (mode_ == Mode::kImmediate) return;
  thread_ = std::thread([this] { run_thread(); });
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

SideStream::~SideStream() {
  close();
  join();
}

void SideStream::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    if (std::uncaught_exceptions() > exceptions_at_start_) cancelled_ = true;
  }
  changed_.notify_all();
}

void SideStream::join() {
  if (thread_.joinable()) thread_.join();
}

int64_t SideStream::enqueue(std::function<void()> work) {
  auto item = std::make_unique<Item>();
  item->work = std::move(work);
  Item* const now = item.get();
  int64_t ticket = 0;
  {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    ticket = ++issued_;
  }
  if (mode_ == Mode::kImmediate) {
    done_ = ticket;
    carry_out(*now);
  } else {
    changed_.notify_all();
  }
  return ticket;
}

void SideStream::enqueue_wait(SideStream& other, int64_t ticket) {
  auto item = std::make_unique<Item>();
  item->awaited = &other;
  item->awaited_ticket = ticket;
  {
    const std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    ++issued_;
    if (mode_ == Mode::kImmediate) done_ = issued_;
  }
  changed_.notify_all();
}

int64_t SideStream::last_ticket() const {
  const std::lock_guard lock(mutex_);
  return issued_;
}

bool SideStream::is_done(int64_t ticket) const {
  const std::lock_guard lock(mutex_);
  return done_ >= ticket;
}

void SideStream::wait(int64_t ticket) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= ticket; });
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }
  forget(ticket);
}

void SideStream::forget(int64_t ticket) {
  for (;;) {
    std::unique_ptr<Item> item;
    {
      const std::lock_guard lock(mutex_);
      if (forgotten_ >= ticket) return;
      item = std::move(items_.front());
      items_.pop_front();
      ++forgotten_;
    }
    if (item->awaited != nullptr) item->awaited->forget(item->awaited_ticket);
  }
}

void SideStream::wait_from_other_stream(int64_t ticket) {
  std::unique_lock lock(mutex_);
  // In slices, because the waiting stream may be cancelled.
  while (!changed_.wait_for(lock, std::chrono::milliseconds(20), [&] { return done_ >= ticket; })) {
    if (stream_work_cancelled()) throw Error("the waiting stream was given up");
  }
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void SideStream::carry_out(Item& item) {
  if (item.awaited != nullptr) {
    item.awaited->wait_from_other_stream(item.awaited_ticket);
  } else {
    item.work();
  }
}

void SideStream::run_thread() {
  running_here = this;
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closing_ || done_ < issued_; });
    if (done_ == issued_) return;
    Item* const item = items_[static_cast<size_t>(done_ - forgotten_)].get();
    if (failure_ == nullptr && !cancelled_) {
      lock.unlock();
      std::exception_ptr failure;
      try {
        carry_out(*item);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      failure_ = failure;
    }
    ++done_;
    changed_.notify_all();
  }
}

bool in_stream_work() { return running_here != nullptr; }

bool stream_work_cancelled() { return running_here != nullptr && running_here->cancelled_; }

// All end before any goes: they may wait for each other.
SideStreams::~SideStreams() {
  for (const auto& stream : streams_) stream->close();
  for (const auto& stream : streams_) stream->join();
}

Stream SideStreams::make(Device& device, const std::string& name) {
  streams_.push_back(std::make_unique<SideStream>(name, mode_));
  return Stream(device, streams_.back().get());
}

void SideStreams::run_on(const Stream& stream, std::function<void()> work) {
  if (stream.is_default()) {
    work();
  } else {
    side(stream)->enqueue(std::move(work));
  }
}

std::unique_ptr<Event> SideStreams::make_event() { return std::make_unique<StreamEvent>(); }

void SideStreams::synchronize() {
  for (const auto& stream : streams_) stream->wait(stream->last_ticket());
}

}  // namespace conclave
