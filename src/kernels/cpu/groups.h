// Rows that belong to experts, and work on them handed out to threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/kernel.h"

namespace conclave::kernels::cpu {

/// The experts' rows, checked: a wrong offset must not become a wild pointer.
class Groups {
 public:
  Groups(const Tensor& offsets, int64_t rows)
      : offsets_(offsets.data<int64_t>()), experts_(offsets.element_count() - 1) {
    CONCLAVE_CHECK(offsets_[0] == 0 && total() <= rows, "[kernels/grouped_gemm] offsets go from {} to {} over {} rows",
                   offsets_[0], total(), rows);
    for (int64_t e = 0; e < experts_; ++e)
      CONCLAVE_CHECK(begin(e) <= end(e), "[kernels/grouped_gemm] expert {} has offsets {} to {}", e, begin(e), end(e));
  }
  int64_t experts() const { return experts_; }
  int64_t begin(int64_t e) const { return offsets_[e]; }
  int64_t end(int64_t e) const { return offsets_[e + 1]; }
  int64_t rows(int64_t e) const { return end(e) - begin(e); }
  int64_t total() const { return offsets_[experts_]; }

  /// Where the rows of thread `part` of `parts` begin: near its equal share, a multiple of `step` inside an expert.
  int64_t bound(int64_t part, int64_t parts, int64_t step) const {
    const int64_t target = total() * part / parts;
    if (part == 0 || part == parts) return target;
    const int64_t e = std::upper_bound(offsets_, offsets_ + experts_ + 1, target) - offsets_ - 1;
    if (e >= experts_) return total();
    return std::min(begin(e) + round_up(target - begin(e), step), end(e));
  }

 private:
  const int64_t* offsets_;
  int64_t experts_;
};

/// A piece of work on the rows of one expert.
struct GroupTask {
  int64_t expert = 0, task = 0;
};

/// The tasks of all experts in order, cut into one stretch for each thread by the rows they work on.
template <typename TasksOf>
class GroupTasks {
 public:
  GroupTasks(const Groups& groups, TasksOf tasks_of) : groups_(groups), tasks_of_(tasks_of) {}

  /// The first task at or after `at` that exists; expert experts(): none.
  GroupTask settled(GroupTask at) const {
    while (at.expert < groups_.experts() && at.task >= tasks_of_(at.expert)) at = {at.expert + 1, 0};
    return at;
  }
  /// Task `i` of all.
  GroupTask at(int64_t i) const {
    GroupTask out{0, i};
    while (out.expert < groups_.experts() && out.task >= tasks_of_(out.expert))
      out = {out.expert + 1, out.task - tasks_of_(out.expert)};
    return out;
  }
  /// Tasks before the stretch of `part` of `parts`.
  int64_t bound(int part, int parts) const {
    const int64_t target = ceil_div(groups_.total() * part, parts);
    int64_t before = 0;
    for (int64_t e = 0; e < groups_.experts(); before += tasks_of_(e++)) {
      if (target < groups_.end(e)) return before + (target - groups_.begin(e)) * tasks_of_(e) / groups_.rows(e);
    }
    return before;
  }

 private:
  const Groups& groups_;
  TasksOf tasks_of_;
};

/// body(thread, task, next) for tasks [0, tasks_of(expert)) of every expert. Each thread goes through a stretch of its
/// own, then helps with what is left of the others'; `next` is what it will probably do after, so that memory can be
/// asked for; expert experts(): nothing.
template <typename TasksOf, typename Body>
void for_each_group_task(const Groups& groups, TasksOf tasks_of, Body body) {
  const int threads = omp_get_max_threads();
  const GroupTasks<TasksOf> tasks(groups, tasks_of);
  struct alignas(64) Stretch {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  std::vector<Stretch> stretches(static_cast<size_t>(threads));
  for (int part = 0; part < threads; ++part) {
    stretches[static_cast<size_t>(part)].next = tasks.bound(part, threads);
    stretches[static_cast<size_t>(part)].end = tasks.bound(part + 1, threads);
  }
  on_threads(threads, [&](int thread) {
    for (int other = 0; other < threads; ++other) {
      Stretch& stretch = stretches[static_cast<size_t>((thread + other) % threads)];
      for (int64_t i = stretch.next++; i < stretch.end; i = stretch.next++) {
        const GroupTask now = tasks.at(i);
        body(thread, now, tasks.settled({now.expert, now.task + 1}));
      }
    }
  });
}

}  // namespace conclave::kernels::cpu
