// Who wants to know which ops run.
#pragma once

#include "device/device.h"

namespace conclave::kernels {

class OpWatch {
 public:
  virtual ~OpWatch() = default;
  /// An op is about to run on `stream`; `op` is a literal.
  virtual void begins(const Stream& stream, const char* op) = 0;
};

/// `watch` is told of every op that this thread calls while this lives.
class WatchedOps {
 public:
  explicit WatchedOps(OpWatch& watch);
  ~WatchedOps();
  WatchedOps(const WatchedOps&) = delete;
  WatchedOps& operator=(const WatchedOps&) = delete;

 private:
  OpWatch* before_;
};

/// Whether this thread's ops are watched.
bool ops_are_watched();

}  // namespace conclave::kernels
