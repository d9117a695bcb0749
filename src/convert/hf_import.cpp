#include "convert/hf_import.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "config/resolve.h"

namespace conclave {
namespace {

// Buffers that old files carry and that follow from the configuration.
bool is_derived(std::string_view name) { return name.ends_with(".rotary_emb.inv_freq"); }

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) sizes.push_back(std::to_string(size));
  return fmt::format("[{}]", join(sizes, ", "));
}

int64_t shape_elements(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

}  // namespace

Options options_of_model(const Json& options) {
  return resolved(options_from_json(options, "the model's configuration").options);
}

HuggingFaceWeights::HuggingFaceWeights(const std::string& directory)
    : directory_(directory), model_([&] {
        // What FP8 means is settled where weights are read.
        Json config = Json::object();
        for (const auto& [key, value] : directory_.config().as_object()) {
          if (key != "quantization_config") config[key] = value;
        }
        return read_hugging_face_config(config, directory + "/config.json");
      }()) {
  for (const std::string& warning : model_.warnings) log_warning("{}: {}", directory, warning);
  drop_absent_predictions();
  const Options options = options_of_model(model_.options);
  spec_ = make_model_spec(options, options.model.vocab_size);
  for (const auto& [name, weight] : directory_.weights()) {
    if (name.ends_with(".experts.gate_up_proj")) form_ = ExpertForm::kFused;
  }
  places_ = tensor_places(spec_, family().names, form_);
  tensors_ = own_tensors(places_, spec_);
  check_fit();
  make_pieces();
  for (const TensorPlace& place : places_) {
    if (place.repeated && directory_.find(place.name) != nullptr) check_repeated(place);
  }
}

// Transformers keeps the number of prediction depths in the configuration and drops their weights.
void HuggingFaceWeights::drop_absent_predictions() {
  const Json* depths = model_.options.find("mtp-num-layers");
  if (depths == nullptr) return;
  const std::string prefix = fmt::format("model.layers.{}.", model_.options.at("num-layers").as_int());
  for (const auto& [name, weight] : directory_.weights()) {
    if (name.starts_with(prefix)) return;
  }
  log_warning("{}: config.json names {} prediction depths, the files hold none; the model is read without them",
              directory_.path(), depths->as_int());
  model_.options["mtp-num-layers"] = 0;
}

void HuggingFaceWeights::check_fit() const {
  std::vector<std::string> faults;
  std::map<std::string_view, const TensorPlace*> by_name;
  for (const TensorPlace& place : places_) {
    by_name[place.name] = &place;
    const StoredWeight* weight = directory_.find(place.name);
    if (weight == nullptr) {
      if (!place.may_be_absent)
        faults.push_back(fmt::format("'{}' {} is missing", place.name, shape_text(place.shape)));
    } else if (weight->shape != place.shape) {
      faults.push_back(fmt::format("'{}' is {}, by config.json it must be {}", place.name, shape_text(weight->shape),
                                   shape_text(place.shape)));
    }
  }
  for (const auto& [name, weight] : directory_.weights()) {
    if (!by_name.contains(name) && !directory_.is_scale(name) && !is_derived(name))
      faults.push_back(fmt::format("'{}' {} has no place in the model", name, shape_text(weight.shape)));
  }
  const size_t most = 40, count = faults.size();
  if (count > most) {
    faults.resize(most);
    faults.push_back(fmt::format("and {} more", count - most));
  }
  CONCLAVE_USER_CHECK(faults.empty(), "the weights in '{}' do not fit its config.json ({}), {} faults:\n  {}",
                      directory_.path(), family().model_type, count, join(faults, "\n  "));
}

void HuggingFaceWeights::make_pieces() {
  for (const TensorPlace& place : places_) {
    if (place.repeated) continue;
    const StoredWeight* weight = directory_.find(place.name);
    for (const PlaceRun& run : place.runs) pieces_[place.ours].push_back({run.ours, run.theirs, run.count, weight});
  }
  for (const OwnTensor& tensor : tensors_) {
    std::vector<Piece>& pieces = pieces_.at(tensor.name);
    std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.ours < b.ours; });
    int64_t end = 0;
    for (const Piece& piece : pieces) {
      CONCLAVE_CHECK_EQ(piece.ours, end, "places of '{}'", tensor.name);
      end += piece.count;
    }
    CONCLAVE_CHECK_EQ(end, shape_elements(tensor.shape), "places of '{}'", tensor.name);
  }
}

void HuggingFaceWeights::check_repeated(const TensorPlace& place) const {
  const StoredWeight& weight = *directory_.find(place.name);
  const int64_t count = weight.element_count();
  constexpr int64_t kAtOnce = int64_t{1} << 20;
  std::vector<std::byte> mine, first;
  for (int64_t done = 0; done < count; done += kAtOnce) {
    const auto bytes = static_cast<size_t>(std::min(kAtOnce, count - done)) * 4;
    mine.resize(bytes);
    first.resize(bytes);
    directory_.read_as(weight, done, DType::kF32, mine);
    read(place.ours, done, DType::kF32, first);
    CONCLAVE_USER_CHECK(mine == first,
                        "'{}' in '{}' must hold the same values as the table that it repeats; it does not: the model "
                        "shares them",
                        place.name, directory_.path());
  }
}

DType HuggingFaceWeights::stored_dtype(const std::string& ours) const {
  const std::vector<Piece>& pieces = pieces_.at(ours);
  const auto dtype_of = [&](const StoredWeight& weight) {
    return directory_.is_scaled(weight) ? directory_.dequantised_dtype() : weight.dtype;
  };
  const DType first = dtype_of(*pieces.front().weight);
  for (const Piece& piece : pieces) {
    if (dtype_of(*piece.weight) != first) return DType::kF32;
  }
  return first;
}

std::map<std::string, std::string> HuggingFaceWeights::other_dtypes() const {
  std::map<std::string, std::string> out;
  for (const TensorPlace& place : places_) {
    const StoredWeight* weight = directory_.find(place.name);
    if (weight == nullptr || directory_.is_scaled(*weight) || weight->dtype == stored_dtype(place.ours)) continue;
    out[place.name] = std::string(dtype_name(weight->dtype));
  }
  return out;
}

void HuggingFaceWeights::read(const std::string& ours, int64_t begin, DType dtype, std::span<std::byte> out) const {
  const std::vector<Piece>& pieces = pieces_.at(ours);
  const int64_t size = dtype_size(dtype), end = begin + static_cast<int64_t>(out.size()) / size;
  auto piece = std::upper_bound(pieces.begin(), pieces.end(), begin,
                                [](int64_t at, const Piece& other) { return at < other.ours; });
  --piece;
  for (int64_t at = begin; at < end; ++piece) {
    const int64_t within = at - piece->ours, count = std::min(piece->count - within, end - at);
    directory_.read_as(*piece->weight, piece->theirs + within, dtype,
                       out.subspan(static_cast<size_t>((at - begin) * size), static_cast<size_t>(count * size)));
    at += count;
  }
}

void HuggingFaceWeights::read(const std::string& ours, const ShardSpec& wanted, DType dtype,
                              std::span<std::byte> out) const {
  // Rows of the innermost axis are contiguous, and so are whole slabs of a box that spans all further axes.
  const int64_t total = wanted.element_count(), size = dtype_size(dtype);
  if (wanted.is_whole()) return read(ours, 0, dtype, out);
  int64_t done = 0;
  for (const Box& box : wanted.boxes) {
    int64_t run = 1;
    for (size_t axis = box.size.size(); axis-- > 0;) {
      run *= box.size[axis];
      if (box.size[axis] != wanted.global_shape[axis]) break;
    }
    for (int64_t at = 0; at < box.element_count(); at += run, done += run)
      read(ours, wanted.global_index(done), dtype,
           out.subspan(static_cast<size_t>(done * size), static_cast<size_t>(run * size)));
  }
  CONCLAVE_CHECK_EQ(done, total, "boxes of '{}'", ours);
}

}  // namespace conclave
