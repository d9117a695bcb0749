// Ranks as threads, each with a device of its own.
#pragma once

#include <functional>

#include "comm/world.h"

namespace conclave::cases {

inline void on_ranks(int size, const std::function<void(int, Communicator&, const Stream&)>& work) {
  run_ranks_as_threads({.ranks = size}, [&](World& world) {
    const auto device = make_device("cpu");
    work(static_cast<int>(world.rank()), world.all(), device->default_stream());
  });
}

}  // namespace conclave::cases
