#include "moe/routing_trace.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/file.h"

namespace conclave {
namespace {

constexpr const char* kFormat = "conclave routing trace 1";

std::string step_folder(const std::string& directory, int64_t iteration) {
  return fmt::format("{}/iter_{:07}", directory, iteration);
}
std::string file_name(const std::string& directory, int64_t iteration, int64_t rank) {
  return fmt::format("{}/rank_{:05}.safetensors", step_folder(directory, iteration), rank);
}
std::string item_name(int64_t micro_batch, const std::string& router, const char* what) {
  return fmt::format("{}.{}.{}", micro_batch, router, what);
}

/// What one rank of a trace chose.
class TracedRouting final : public DeclaredRouting {
 public:
  TracedRouting(RoutingTraceReader& reader, RoutingMoment moment, const RoutingSizes& sizes)
      : reader_(reader), moment_(std::move(moment)), sizes_(sizes) {}

  int64_t rows(int64_t rank, int64_t expert) const override { return of(rank).rows[static_cast<size_t>(expert)]; }

  int64_t tokens(int64_t rank, int64_t begin, int64_t end, const std::vector<uint8_t>& there) const override {
    const TracedChoices& choices = of(rank).choices;
    int64_t count = 0;
    for (int64_t t = begin; t < end; ++t) {
      const auto first = choices.experts.begin() + t * choices.topk;
      count += std::any_of(first, first + choices.topk,
                           [&](int16_t e) { return e >= 0 && there[static_cast<size_t>(e)] != 0; });
    }
    return count;
  }

 private:
  RoutingTraceReader& reader_;
  RoutingMoment moment_;
  RoutingSizes sizes_;
  struct OfRank {
    TracedChoices choices;
    std::vector<int64_t> rows;  ///< [E]
  };
  mutable std::map<int64_t, OfRank> by_rank_;

  const OfRank& of(int64_t rank) const {
    const auto found = by_rank_.find(rank);
    if (found != by_rank_.end()) return found->second;
    TracedChoices choices = reader_.kept(moment_, rank);
    CONCLAVE_USER_CHECK(choices.tokens == sizes_.tokens && choices.topk == sizes_.topk,
                        "[moe/trace] {}: the trace has {} tokens of {} choices on a rank, this job {} of {}; give the "
                        "options of the run that was traced",
                        moment_.router, choices.tokens, choices.topk, sizes_.tokens, sizes_.topk);
    CONCLAVE_USER_CHECK(std::all_of(choices.experts.begin(), choices.experts.end(),
                                    [&](int16_t e) { return -1 <= e && e < sizes_.experts; }),
                        "[moe/trace] {}: the trace names experts beyond the {} of this model; give the options of the "
                        "run that was traced",
                        moment_.router, sizes_.experts);
    std::vector<int64_t> rows(static_cast<size_t>(sizes_.experts), 0);
    for (const int16_t e : choices.experts) {
      if (e >= 0) ++rows[static_cast<size_t>(e)];
    }
    return by_rank_.emplace(rank, OfRank{std::move(choices), std::move(rows)}).first->second;
  }
};

class TracedLoad final : public RoutingLoad {
 public:
  explicit TracedLoad(const std::string& directory) : reader_(directory) {}
  std::shared_ptr<const DeclaredRouting> declare(const RoutingMoment& moment,
                                                 const RoutingSizes& sizes) const override {
    return std::make_shared<TracedRouting>(reader_, moment, sizes);
  }

 private:
  mutable RoutingTraceReader reader_;  ///< a cache of files
};

}  // namespace

RoutingTraceReader::RoutingTraceReader(std::string directory) : directory_(std::move(directory)) {
  CONCLAVE_USER_CHECK(is_directory(directory_),
                      "[moe/trace] '{}' is no folder; give one that --moe-routing-trace-path wrote", directory_);
}

const SafetensorsFile& RoutingTraceReader::file(int64_t iteration, int64_t rank) {
  if (iteration != iteration_) files_.clear();
  iteration_ = iteration;
  std::unique_ptr<SafetensorsFile>& file = files_[rank];
  if (file) return *file;
  const std::string path = file_name(directory_, iteration, rank);
  CONCLAVE_USER_CHECK(file_exists(path),
                      "[moe/trace] step {} of rank {} was not traced: '{}' is not there; trace as many steps (and "
                      "ranks) as are run now",
                      iteration, rank, path);
  auto opened = std::make_unique<SafetensorsFile>(path);
  const auto format = opened->metadata().find("format");
  CONCLAVE_USER_CHECK(format != opened->metadata().end() && format->second == kFormat,
                      "[moe/trace] '{}' is no routing trace", path);
  file = std::move(opened);
  return *file;
}

TracedChoices RoutingTraceReader::read(const SafetensorsFile& file, const SafetensorsEntry& entry) const {
  CONCLAVE_USER_CHECK(entry.shape.size() == 2, "[moe/trace] '{}' in '{}' is no matrix of choices", entry.name,
                      file.path());
  return {entry.shape[0], entry.shape[1], entry.to_vector<int16_t>()};
}

TracedChoices RoutingTraceReader::chosen(const RoutingMoment& moment, int64_t rank) {
  const SafetensorsFile& traced = file(moment.iteration, rank);
  const std::string name = item_name(moment.micro_batch, moment.router, "experts");
  const SafetensorsEntry* entry = traced.find(name);
  CONCLAVE_USER_CHECK(entry != nullptr,
                      "[moe/trace] '{}' has no '{}': another model, layout or batch; give the options of the run that "
                      "was traced",
                      traced.path(), name);
  return read(traced, *entry);
}

TracedChoices RoutingTraceReader::kept(const RoutingMoment& moment, int64_t rank) {
  const SafetensorsFile& traced = file(moment.iteration, rank);
  const SafetensorsEntry* entry = traced.find(item_name(moment.micro_batch, moment.router, "kept"));
  return entry != nullptr ? read(traced, *entry) : chosen(moment, rank);
}

RoutingTrace::RoutingTrace(const Settings& settings, int64_t rank, int64_t world_size)
    : settings_(settings), rank_(rank), world_size_(world_size) {
  if (!settings_.replay.empty()) source_ = std::make_unique<RoutingTraceReader>(settings_.replay);
  if (!settings_.write.empty()) make_directories(settings_.write);
}

bool RoutingTrace::writes(const Context& context) const {
  return !settings_.write.empty() && context.training && (settings_.most_steps == 0 || written_ < settings_.most_steps);
}

Tensor RoutingTrace::forced(const Context& context, const std::string& router) {
  if (!source_ || !context.training) return {};
  const TracedChoices choices = source_->chosen({context.iteration, context.batch.index, router}, rank_);
  const Tensor experts = context.empty({choices.tokens, choices.topk}, DType::kI32, "router.replayed");
  const std::vector<int32_t> values(choices.experts.begin(), choices.experts.end());
  CONCLAVE_USER_CHECK(
      std::all_of(values.begin(), values.end(), [&](int32_t e) { return 0 <= e && e < settings_.experts; }),
      "[moe/trace] {}: '{}' names experts beyond the {} of this model; give the options of the run that "
      "was traced",
      router, settings_.replay, settings_.experts);
  copy_from_host<int32_t>(context.stream, experts, values);
  return experts;
}

void RoutingTrace::taken(const Context& context, const std::string& router, const Tensor& experts) {
  add(context, router, "experts", experts);
}

void RoutingTrace::kept(const Context& context, const std::string& router, const Tensor& experts) {
  add(context, router, "kept", experts);
}

void RoutingTrace::add(const Context& context, const std::string& router, const char* what, const Tensor& experts) {
  if (!writes(context)) return;
  const std::vector<int32_t> values = to_host<int32_t>(context.stream, experts);
  Item item{item_name(context.batch.index, router, what), {experts.size(0), experts.size(1)}, {}};
  item.values.reserve(values.size());
  for (const int32_t value : values) {
    CONCLAVE_USER_CHECK(value <= std::numeric_limits<int16_t>::max(),
                        "--moe-routing-trace-path knows expert numbers up to {}; got {}; leave it out",
                        std::numeric_limits<int16_t>::max(), value);
    item.values.push_back(static_cast<int16_t>(value));
  }
  step_.push_back(std::move(item));
}

void RoutingTrace::end_step(int64_t iteration) {
  if (settings_.write.empty() || (settings_.most_steps > 0 && written_ >= settings_.most_steps)) return;
  std::vector<SafetensorsItem> items;
  for (const Item& item : step_) items.push_back({item.name, DType::kI16, item.shape});
  std::string content = safetensors_header(items, {{"format", kFormat},
                                                   {"iteration", std::to_string(iteration)},
                                                   {"rank", std::to_string(rank_)},
                                                   {"world_size", std::to_string(world_size_)}});
  for (const Item& item : step_)
    content.append(reinterpret_cast<const char*>(item.values.data()), item.values.size() * sizeof(int16_t));
  make_directories(step_folder(settings_.write, iteration));
  write_file_atomically(file_name(settings_.write, iteration, rank_), content);
  step_.clear();
  ++written_;
}

std::unique_ptr<const RoutingLoad> make_traced_load(const std::string& directory) {
  return std::make_unique<TracedLoad>(directory);
}

}  // namespace conclave
