// Tensors of a model that lies over the ranks of a job, whole again: what comparisons with numbers made elsewhere need.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "optim/training_store.h"
#include "trainer/engine.h"

namespace conclave::proof {

/// f32 values by name, each in its global row-major order.
using WholeTensors = std::map<std::string, std::vector<float>>;

/// Calls visit(state, global index, value) for every f32 element of `tensors`; optimizer states are left out.
template <typename Visit>
void for_each_element(Engine& engine, const std::vector<StateTensor>& tensors, Visit visit) {
  for (const StateTensor& state : tensors) {
    if (state.optimizer || state.tensor.dtype() != DType::kF32) continue;
    const std::vector<float> values = to_host<float>(engine.device().default_stream(), state.tensor);
    for (size_t i = 0; i < values.size(); ++i)
      visit(state, state.shard.global_index(static_cast<int64_t>(i)), values[i]);
  }
}

/// Tensors of the job, one at a time: whole() is collective over the world of the engine and gives the same on every
/// rank. `owned`: what this rank answers for (TrainingStore::owned_state, owned_gradients).
class JobTensors {
 public:
  JobTensors(Engine& engine, std::vector<StateTensor> owned) : engine_(engine), owned_(std::move(owned)) {}

  /// Empty if no rank has a tensor of this name; NaN where nobody answers for an element. Asking again for the same
  /// name exchanges nothing.
  const std::vector<float>& whole(const std::string& name);

 private:
  Engine& engine_;
  std::vector<StateTensor> owned_;
  std::string held_;
  std::vector<float> values_;
};

/// The first text that is not empty, by rank. Collective over the world.
std::string first_text(Engine& engine, const std::string& own);

/// Writes `values`, all elements of the tensor in global order, into the part that `state` holds.
void fill_part(Engine& engine, const StateTensor& state, const std::vector<float>& values);

}  // namespace conclave::proof
