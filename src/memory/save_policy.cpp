#include "memory/save_policy.h"

#include <algorithm>
#include <string_view>

namespace conclave {
namespace {

class ByName final : public SavePolicy {
 public:
  explicit ByName(std::vector<std::string> modules) : modules_(std::move(modules)) {}
  SaveAction action(const char* name) const override {
    return listed(name) ? SaveAction::kRecompute : SaveAction::kKeep;
  }
  bool reruns(const char* part) const override { return listed(part); }

 private:
  std::vector<std::string> modules_;
  bool listed(std::string_view name) const {
    return std::find(modules_.begin(), modules_.end(), name) != modules_.end();
  }
};

}  // namespace

std::unique_ptr<SavePolicy> make_save_policy(const SelectivePolicy& policy) {
  return std::make_unique<ByName>(policy.recompute_modules);
}

std::vector<LayerGroup> group_layers(const FullRecompute& full, int64_t count) {
  std::vector<LayerGroup> groups;
  if (full.method == FullRecompute::Method::kUniform) {
    for (int64_t begin = 0; begin < count; begin += full.layers)
      groups.push_back({begin, std::min(begin + full.layers, count), true});
    return groups;
  }
  const int64_t first = full.method == FullRecompute::Method::kBlock ? std::min(full.layers, count) : 0;
  for (int64_t i = 0; i < count; ++i) groups.push_back({i, i + 1, i < first});
  return groups;
}

}  // namespace conclave
