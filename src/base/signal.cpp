#include "base/signal.h"

#include <unistd.h>

#include <atomic>

#include "base/exit_code.h"

namespace conclave {
namespace {

std::atomic<int> received{0};
static_assert(std::atomic<int>::is_always_lock_free, "the handler may run at any instruction");
std::atomic<bool> installed{false};

void on_signal(int number) {
  int none = 0;
  if (!received.compare_exchange_strong(none, number) && number == SIGINT) {
    _exit(static_cast<int>(ExitCode::kInterrupted));
  }
}

}  // namespace

StopSignals::StopSignals() {
  CONCLAVE_CHECK(!installed.exchange(true), "only one StopSignals may live");
  received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &old_interrupt_);
  sigaction(SIGTERM, &action, &old_terminate_);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &old_interrupt_, nullptr);
  sigaction(SIGTERM, &old_terminate_, nullptr);
  installed = false;
}

int stop_signal() { return received.load(); }

}  // namespace conclave
