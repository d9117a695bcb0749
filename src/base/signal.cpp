#include "base/signal.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <mutex>

#include "base/exit_code.h"

namespace conclave {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "the handler may run at any instruction");

// Those alive, and the handlers that were there before the first.
std::mutex mutex;
int alive = 0;
struct sigaction old_interrupt {};
struct sigaction old_terminate {};

void on_signal(int number) {
  int none = 0;
  if (!received.compare_exchange_strong(none, number) && number == SIGINT) {
    _exit(static_cast<int>(ExitCode::kInterrupted));
  }
}

}  // namespace

StopSignals::StopSignals() {
  const std::lock_guard lock(mutex);
  if (alive++ > 0) return;
  received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &old_interrupt);
  sigaction(SIGTERM, &action, &old_terminate);
}

StopSignals::~StopSignals() {
  const std::lock_guard lock(mutex);
  if (--alive > 0) return;
  sigaction(SIGINT, &old_interrupt, nullptr);
  sigaction(SIGTERM, &old_terminate, nullptr);
}

int stop_signal() { return received.load(); }

}  // namespace conclave
