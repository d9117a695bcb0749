#include "trainer/agreement.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "config/options_text.h"
#include "device/device.h"

namespace conclave {
namespace {

const MemoryTag kTag{MemoryCategory::kWorkspace, "agreement"};

// Concern one process or its machine, or are compared by content.
constexpr std::array kOwn = {"threads",        "num-workers",     "data-cache-path",
                             "data-path",      "train-data-path", "valid-data-path",
                             "test-data-path", "data-args-path",  "per-split-data-args-path"};

// [hash, length] of every rank's text.
std::vector<int64_t> gather_hashes(World& world, const Stream& stream, Device& device, const std::string& text) {
  const auto hash = static_cast<int64_t>(hash64(text));
  const Tensor own =
      from_host<int64_t>(device, {2}, std::vector<int64_t>{hash, static_cast<int64_t>(text.size())}, kTag);
  const Tensor all = Tensor::empty(device, {2 * world.size()}, DType::kI64, kTag);
  world.all().all_gather(stream, own, all, "what ranks have alike");
  return to_host<int64_t>(stream, all);
}

// The first rank that has what most have.
int64_t usual_rank(const std::vector<int64_t>& hashes) {
  std::map<int64_t, int64_t> counts;
  for (size_t i = 0; i < hashes.size(); i += 2) ++counts[hashes[i]];
  int64_t best = 0;
  for (size_t i = 0; i < hashes.size(); i += 2) {
    if (counts[hashes[i]] > counts[hashes[static_cast<size_t>(2 * best)]]) best = static_cast<int64_t>(i / 2);
  }
  return best;
}

std::string text_of_rank(World& world, const Stream& stream, Device& device, int64_t root, int64_t length,
                         const std::string& own) {
  const Tensor x = Tensor::empty(device, {length}, DType::kU8, kTag);
  if (world.rank() == root) copy_from_host<uint8_t>(stream, x, std::vector<uint8_t>(own.begin(), own.end()));
  world.all().broadcast(stream, x, static_cast<int>(root), "what most ranks have");
  const std::vector<uint8_t> bytes = to_host<uint8_t>(stream, x);
  return {bytes.begin(), bytes.end()};
}

std::string shown(const Json* value) {
  if (value == nullptr || value->is_null()) return "not given";
  std::string text = value->dump();
  if (text.size() > 120) text = text.substr(0, 117) + "...";
  return text;
}

// "--lr is 0.1 here, 0.001 there; so do --seed, --save".
std::string differences(const Json& here, const Json& there) {
  std::string first;
  std::vector<std::string> more;
  for (const auto& [key, value] : here.as_object()) {
    const Json* other = there.find(key);
    if (other != nullptr && other->dump() == value.dump()) continue;
    if (first.empty()) {
      first = fmt::format("{} is {} here, {} there", key, shown(&value), shown(other));
    } else {
      more.push_back(key);
    }
  }
  for (const auto& [key, value] : there.as_object()) {
    if (here.find(key) == nullptr) more.push_back(key);
  }
  return first + (more.empty() ? "" : "; other too: " + join(more, ", "));
}

// Some tokens of a data set from all over it.
uint64_t sampled_tokens(const TokenSource& source) {
  constexpr int64_t kPlaces = 32, kTokens = 64;
  Hasher64 hasher;
  const LengthView lengths = source.lengths();
  for (int64_t place = 0; place < kPlaces && lengths.size() > 0; ++place) {
    const int64_t sequence = place * (lengths.size() - 1) / (kPlaces - 1);
    std::vector<int32_t> tokens(static_cast<size_t>(std::min<int64_t>(lengths[sequence], kTokens)));
    source.read(sequence, 0, tokens);
    hasher.update(std::as_bytes(std::span(tokens)));
  }
  return hasher.digest();
}

}  // namespace

void check_ranks_agree(World& world, const char* what, const Json& own) {
  if (world.size() == 1) return;
  const std::unique_ptr<Device> device = make_device("cpu");
  const Stream stream = device->default_stream();
  const std::string text = own.dump();
  const std::vector<int64_t> hashes = gather_hashes(world, stream, *device, text);
  const int64_t usual = usual_rank(hashes);
  const auto hash_of = [&](int64_t rank) { return hashes[static_cast<size_t>(2 * rank)]; };
  std::vector<std::string> others;
  int64_t first = -1;
  for (int64_t rank = 0; rank < world.size(); ++rank) {
    if (hash_of(rank) == hash_of(usual)) continue;
    if (first < 0) first = rank;
    others.push_back(std::to_string(rank));
  }
  if (first < 0) return;
  const std::string there =
      text_of_rank(world, stream, *device, usual, hashes[static_cast<size_t>(2 * usual + 1)], text);
  if (world.rank() == first) {
    throw UserError(fmt::format("this rank {} than rank {}: {}; of {} ranks, those that differ: {}; start all alike",
                                what, usual, differences(own, Json::parse(there, "another rank")), world.size(),
                                join(others, ", ")));
  }
  // Until the one that speaks has ended the job.
  world.all().barrier("end of a job whose ranks differ");
}

Json comparable_options(const Options& options) {
  Json out = Json::object();
  const Json all = options_to_json(options);
  for (const auto& [key, value] : all.as_object()) {
    if (std::find(kOwn.begin(), kOwn.end(), std::string_view(key)) == kOwn.end()) out["--" + key] = value;
  }
  return out;
}

Json comparable_data(const BatchSource& source, int64_t consumed_samples) {
  Json out = Json::object();
  const DataPosition position = source.position(consumed_samples);
  out["samples used so far"] = position.consumed_samples;
  out["order of samples"] = position.order;
  const std::pair<Split, const char*> splits[] = {
      {Split::kTrain, "training data"}, {Split::kValid, "validation data"}, {Split::kTest, "test data"}};
  for (const auto& [split, name] : splits) {
    Json contents = Json::array();
    for (const auto& data : source.data().split(split).sources)
      contents.push_back(data->content_id() + "-" + hex64(sampled_tokens(*data)));
    out[name] = contents;
  }
  return out;
}

}  // namespace conclave
