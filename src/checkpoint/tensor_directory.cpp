#include "checkpoint/tensor_directory.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/box_overlap.h"

namespace conclave {
namespace {

constexpr const char* kMessage = "message between ranks that load";

Json sizes_json(const std::vector<int64_t>& sizes) {
  Json out = Json::array();
  for (const int64_t size : sizes) out.push_back(size);
  return out;
}

std::vector<int64_t> sizes_of(const Json& json) {
  std::vector<int64_t> out;
  for (const Json& size : json.as_array()) out.push_back(size.as_int());
  return out;
}

// {"name": ..., "boxes": [[[begin], [size]], ...]}
Json request_json(const CheckpointTensor& tensor) {
  Json request = Json::object();
  request["name"] = tensor.name;
  Json boxes = Json::array();
  for (const Box& box : tensor.shard.boxes) {
    Json pair = Json::array();
    pair.push_back(sizes_json(box.begin));
    pair.push_back(sizes_json(box.size));
    boxes.push_back(std::move(pair));
  }
  request["boxes"] = std::move(boxes);
  return request;
}

bool shares_elements(const Box& stored, const std::vector<Box>& wanted) {
  return std::any_of(wanted.begin(), wanted.end(), [&](const Box& box) {
    return box.size.size() == stored.size.size() && intersection(stored, box).has_value();
  });
}

std::vector<const Box*> boxes_of(const TensorRecord& record) {
  std::vector<const Box*> boxes;
  for (const StoredBox& stored : record.boxes) boxes.push_back(&stored.box);
  return boxes;
}

// What keeps a stored tensor from being what is wanted; empty if nothing does.
std::string misfit(const CheckpointTensor& wanted, const TensorRecord* record, bool widens) {
  const std::string shape = Shape(wanted.shard.global_shape).to_string();
  if (record == nullptr) return fmt::format("'{}' {} is missing in the checkpoint", wanted.name, shape);
  if (record->info.shape != wanted.shard.global_shape) {
    return fmt::format("'{}' is {} in the checkpoint, {} in the model", wanted.name,
                       Shape(record->info.shape).to_string(), shape);
  }
  const DType stored = record->info.dtype;
  const bool floating = stored == DType::kBF16 || stored == DType::kF16 || stored == DType::kF64;
  if (stored != wanted.dtype && !(widens && floating && wanted.dtype == DType::kF32)) {
    return fmt::format("'{}' is {} in the checkpoint, {} in the model", wanted.name, dtype_name(record->info.dtype),
                       dtype_name(wanted.dtype));
  }
  return "";
}

}  // namespace

std::vector<std::string> exchange_texts(Communicator& world, const Stream& stream,
                                        const std::vector<std::string>& texts) {
  const auto size = static_cast<int64_t>(texts.size());
  CONCLAVE_CHECK_EQ(size, static_cast<int64_t>(world.size()), "texts for the members of a group");
  if (size == 1) return texts;
  const MemoryTag tag{MemoryCategory::kWorkspace, "texts between ranks"};
  std::vector<int64_t> sent;
  std::vector<uint8_t> bytes;
  for (const std::string& text : texts) {
    sent.push_back(static_cast<int64_t>(text.size()));
    bytes.insert(bytes.end(), text.begin(), text.end());
  }
  const std::vector<int64_t> ones(texts.size(), 1);
  const Tensor lengths = Tensor::empty(stream.device(), {size, 1}, DType::kI64, tag);
  world.all_to_all_rows(stream, from_host<int64_t>(stream.device(), {size, 1}, sent, tag), ones, lengths, ones,
                        "lengths of texts");
  const std::vector<int64_t> received = to_host<int64_t>(stream, lengths);
  stream.device().synchronize();
  int64_t total = 0;
  for (const int64_t length : received) total += length;
  const Tensor in = from_host<uint8_t>(stream.device(), {static_cast<int64_t>(bytes.size()), 1}, bytes, tag);
  const Tensor out = Tensor::empty(stream.device(), {total, 1}, DType::kU8, tag);
  world.all_to_all_rows(stream, in, sent, out, received, "texts");
  const std::vector<uint8_t> all = to_host<uint8_t>(stream, out);
  stream.device().synchronize();
  std::vector<std::string> result;
  auto place = all.begin();
  for (const int64_t length : received) {
    result.emplace_back(place, place + length);
    place += length;
  }
  return result;
}

TensorDirectory::TensorDirectory(const StoredPieces& pieces, Communicator& world, const Stream& stream)
    : pieces_(pieces), world_(world), stream_(stream), agreement_(world, stream) {
  collect();
}

size_t TensorDirectory::keeper_of(const std::string& name) const {
  return static_cast<size_t>(hash64(name) % static_cast<uint64_t>(world_.size()));
}

void TensorDirectory::collect() {
  const auto size = static_cast<int64_t>(world_.size()),
             indexes = static_cast<int64_t>(pieces_.manifest().ranks.size());
  std::vector<std::vector<IndexedTensor>> shares(static_cast<size_t>(size));
  agreement_.fail_together(failure_of([&] {
    for (int64_t rank = world_.rank(); rank < indexes; rank += size) {
      for (IndexedTensor& tensor : pieces_.checked_index(rank).tensors)
        shares[keeper_of(tensor.name)].push_back(std::move(tensor));
    }
  }));
  std::vector<std::string> texts;
  for (const std::vector<IndexedTensor>& share : shares) texts.push_back(tensors_text(share));
  const std::vector<std::string> received = exchange_texts(world_, stream_, texts);
  agreement_.fail_together(failure_of([&] {
    for (const std::string& text : received) keep(parse_tensors(text, kMessage));
    check_tiling();
  }));
}

void TensorDirectory::keep(std::vector<IndexedTensor> tensors) {
  for (IndexedTensor& tensor : tensors) {
    TensorRecord& record = kept_[tensor.name].record;
    if (record.info.name.empty()) record.info = {tensor.name, tensor.dtype, tensor.shape};
    if (record.info.dtype != tensor.dtype || record.info.shape != tensor.shape) {
      pieces_.throw_damaged(fmt::format("the ranks' indexes in '{}' give tensor '{}' different shapes or dtypes",
                                        pieces_.directory(), tensor.name));
    }
    std::move(tensor.boxes.begin(), tensor.boxes.end(), std::back_inserter(record.boxes));
  }
}

void TensorDirectory::check_tiling() const {
  for (const auto& [name, kept] : kept_) {
    const std::string fault = tiling_fault(kept.record.info.shape, boxes_of(kept.record));
    if (!fault.empty())
      pieces_.throw_damaged(fmt::format("tensor '{}' in '{}' is not whole: {}", name, pieces_.directory(), fault));
  }
}

std::vector<std::string> TensorDirectory::requests(const std::vector<CheckpointTensor>& wanted) const {
  std::vector<Json> lists(static_cast<size_t>(world_.size()), Json::array());
  for (const CheckpointTensor& tensor : wanted) lists[keeper_of(tensor.name)].push_back(request_json(tensor));
  std::vector<std::string> texts;
  for (const Json& list : lists) texts.push_back(list.dump());
  return texts;
}

std::string TensorDirectory::answer(const std::string& request) {
  std::vector<IndexedTensor> found;
  const Json asked = Json::parse(request, kMessage);
  for (const Json& tensor : asked.as_array()) {
    const auto place = kept_.find(tensor.at("name").as_string());
    if (place == kept_.end()) continue;
    place->second.asked_for = true;
    const TensorRecord& record = place->second.record;
    std::vector<Box> boxes;
    for (const Json& pair : tensor.at("boxes").as_array())
      boxes.push_back({sizes_of(pair.at(0)), sizes_of(pair.at(1))});
    found.push_back({record.info.name, record.info.dtype, record.info.shape, {}});
    std::copy_if(record.boxes.begin(), record.boxes.end(), std::back_inserter(found.back().boxes),
                 [&](const StoredBox& stored) { return shares_elements(stored.box, boxes); });
  }
  return tensors_text(found);
}

TensorDirectory::Answer TensorDirectory::look_up(const std::vector<CheckpointTensor>& wanted,
                                                 const std::function<bool(const std::string& name)>& may_be_left,
                                                 bool widens) {
  std::vector<std::string> texts;
  for (const std::string& request : exchange_texts(world_, stream_, requests(wanted))) texts.push_back(answer(request));
  Answer out;
  for (const std::string& text : exchange_texts(world_, stream_, texts)) {
    for (IndexedTensor& tensor : parse_tensors(text, kMessage))
      out.records[tensor.name] = {{tensor.name, tensor.dtype, tensor.shape}, std::move(tensor.boxes), true};
  }
  for (const CheckpointTensor& tensor : wanted) {
    const auto found = out.records.find(tensor.name);
    const std::string fault = misfit(tensor, found == out.records.end() ? nullptr : &found->second, widens);
    if (!fault.empty()) out.misfits.push_back(fault);
  }
  for (const auto& [name, kept] : kept_) {
    if (!kept.asked_for && !may_be_left(name)) {
      out.misfits.push_back(
          fmt::format("'{}' {} has no place in the model", name, Shape(kept.record.info.shape).to_string()));
    }
  }
  return out;
}

}  // namespace conclave
