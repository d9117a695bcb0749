#include "proof/whole_tensors.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "checkpoint/tensor_directory.h"

namespace conclave::proof {
namespace {

/// An element on its way to the other ranks. The first of a text tells the number of elements of the whole tensor.
struct Element {
  int64_t index = 0;
  float value = 0;
};

void append(std::string* text, const Element& element) {
  text->append(reinterpret_cast<const char*>(&element.index), sizeof element.index);
  text->append(reinterpret_cast<const char*>(&element.value), sizeof element.value);
}

constexpr size_t kElementBytes = sizeof(int64_t) + sizeof(float);

Element element_at(const std::string& text, size_t at) {
  Element out;
  std::memcpy(&out.index, text.data() + at, sizeof out.index);
  std::memcpy(&out.value, text.data() + at + sizeof out.index, sizeof out.value);
  return out;
}

}  // namespace

const std::vector<float>& JobTensors::whole(const std::string& name) {
  if (held_ == name) return values_;
  held_ = name;
  values_.clear();
  std::string own;
  std::vector<StateTensor> wanted;
  for (const StateTensor& state : owned_) {
    if (state.name != name || state.optimizer) continue;
    if (own.empty()) append(&own, {Shape(state.shard.global_shape).element_count(), 0});
    wanted.push_back(state);
  }
  for_each_element(engine_, wanted, [&](const StateTensor&, int64_t index, float value) {
    append(&own, {index, value});
  });
  Communicator& world = engine_.groups().world().all();
  const std::vector<std::string> texts(static_cast<size_t>(world.size()), own);
  for (const std::string& text : exchange_texts(world, engine_.device().default_stream(), texts)) {
    if (text.empty()) continue;
    values_.resize(static_cast<size_t>(element_at(text, 0).index), std::nanf(""));
    for (size_t at = kElementBytes; at < text.size(); at += kElementBytes) {
      const Element element = element_at(text, at);
      values_.at(static_cast<size_t>(element.index)) = element.value;
    }
  }
  return values_;
}

std::string first_text(Engine& engine, const std::string& own) {
  Communicator& world = engine.groups().world().all();
  const std::vector<std::string> texts(static_cast<size_t>(world.size()), own);
  for (const std::string& text : exchange_texts(world, engine.device().default_stream(), texts)) {
    if (!text.empty()) return text;
  }
  return "";
}

void fill_part(Engine& engine, const StateTensor& state, const std::vector<float>& values) {
  const auto whole = static_cast<size_t>(Shape(state.shard.global_shape).element_count());
  CONCLAVE_USER_CHECK(values.size() == whole, "'{}' has {} values, the model has {}", state.name, values.size(), whole);
  std::vector<float> part(static_cast<size_t>(state.tensor.element_count()));
  for (size_t i = 0; i < part.size(); ++i)
    part[i] = values[static_cast<size_t>(state.shard.global_index(static_cast<int64_t>(i)))];
  copy_from_host<float>(engine.device().default_stream(), state.tensor, part);
}

}  // namespace conclave::proof
