// Streams beside the default one, and the events between them, for devices whose kernels run on the host (cpu, sim).
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "device/device.h"

namespace conclave {

/// A queue of host work, carried out in order: by a thread of its own, or (`sim`) before enqueue() returns.
///
/// What the work holds (tensors in its captures) stays held until the host waits for it: memory then comes back at
/// the same place of the program in every run and on every device, whenever the thread happened to be done.
class SideStream {
 public:
  enum class Mode { kThread, kImmediate };
  SideStream(const std::string& name, Mode mode);
  ~SideStream();
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  /// Returns the ticket of this work: 1, 2, ... After a failure, work is skipped.
  int64_t enqueue(std::function<void()> work);
  /// Later work here begins only when `other` has done its work up to `ticket`.
  void enqueue_wait(SideStream& other, int64_t ticket);
  int64_t last_ticket() const;
  /// Whether all work up to `ticket` is done; does not wait.
  bool is_done(int64_t ticket) const;

  /// The host waits for the work up to `ticket`, then lets go of what it held; throws what work here threw.
  void wait(int64_t ticket);

  /// No more work comes. While an exception unwinds the stack, work not begun is dropped and work under way is asked
  /// to stop (stream_work_cancelled()).
  void close();
  /// After close(): waits for the work that is left.
  void join();

 private:
  struct Item {
    std::function<void()> work;
    SideStream* awaited = nullptr;
    int64_t awaited_ticket = 0;
  };

  void run_thread();
  void carry_out(Item& item);
  void wait_from_other_stream(int64_t ticket);
  void forget(int64_t ticket);

  Mode mode_;
  int exceptions_at_start_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Item>> items_;  ///< those that the host did not wait for yet
  int64_t forgotten_ = 0, done_ = 0, issued_ = 0;
  bool closing_ = false;
  std::atomic<bool> cancelled_{false};
  std::exception_ptr failure_;
  std::thread thread_;
  friend bool stream_work_cancelled();
};

/// Inside work of a side stream: whether the stream wants it to end early, by any exception. For loops that wait for
/// other ranks. False on every other thread.
bool stream_work_cancelled();
/// Whether this thread serves a side stream, so that the host may be computing beside it.
bool in_stream_work();

/// All side streams of a device, and what its Stream and Event functions do with them.
class SideStreams {
 public:
  explicit SideStreams(SideStream::Mode mode) : mode_(mode) {}
  /// Waits for the work that is left, or ends it while an exception unwinds the stack.
  ~SideStreams();
  SideStreams(const SideStreams&) = delete;
  SideStreams& operator=(const SideStreams&) = delete;
  Stream make(Device& device, const std::string& name);
  static void run_on(const Stream& stream, std::function<void()> work);
  static std::unique_ptr<Event> make_event();
  void synchronize();

 private:
  SideStream::Mode mode_;
  std::vector<std::unique_ptr<SideStream>> streams_;
};

}  // namespace conclave
