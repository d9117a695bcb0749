// Rows that belong to experts, and work on them handed out to threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>

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

/// body(thread, expert, i) for i in [0, tasks_of(expert)) of every expert, handed out one by one.
template <typename TasksOf, typename Body>
void for_each_group_task(const Groups& groups, TasksOf tasks_of, Body body) {
  std::atomic<int64_t> next{0};
  on_threads(omp_get_max_threads(), [&](int thread) {
    int64_t e = 0, first = 0;  // tasks before those of expert e
    for (int64_t task = next++;; task = next++) {
      for (; e < groups.experts() && task >= first + tasks_of(e); ++e) first += tasks_of(e);
      if (e == groups.experts()) return;
      body(thread, e, task - first);
    }
  });
}

}  // namespace conclave::kernels::cpu
