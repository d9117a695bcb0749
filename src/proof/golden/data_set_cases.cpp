#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "data/data_sets.h"
#include "data/indexed_dataset.h"
#include "data/sample.h"
#include "proof/golden/data_cases.h"

namespace conclave::proof {
namespace {

/// A folder that is gone at the end.
class ScratchFolder {
 public:
  ScratchFolder() {
    path_ = (std::filesystem::temp_directory_path() / "conclave-golden-XXXXXX").string();
    CONCLAVE_USER_CHECK(::mkdtemp(path_.data()) != nullptr, "cannot make the folder '{}'; set TMPDIR", path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::vector<int64_t> widened(std::span<const int32_t> values) { return {values.begin(), values.end()}; }

std::string long_name(DType dtype) {
  switch (dtype) {
    case DType::kU8:
      return "uint8";
    case DType::kI8:
      return "int8";
    case DType::kI16:
      return "int16";
    case DType::kU16:
      return "uint16";
    case DType::kI32:
      return "int32";
    case DType::kU32:
      return "uint32";
    case DType::kI64:
      return "int64";
    default:
      return std::string(dtype_name(dtype));
  }
}

std::optional<int64_t> maybe_int(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional<int64_t>(value.as_int());
}

// A writer that is given what the reader found must make the same bytes.
void check_written_again(const Json& golden, const IndexedDataset& data) {
  using Modes = IndexedDatasetBuilder::Modes;
  const ScratchFolder scratch;
  const std::string prefix = scratch.path() + "/again";
  IndexedDatasetBuilder builder(prefix, data.dtype(), data.multimodal() ? Modes::kMultimodal : Modes::kNone);
  builder.add_dataset(data);
  builder.finalize();
  expect_equal("written bin_sha256", sha256_hex(read_file(prefix + ".bin")), golden.at("bin_sha256").as_string());
  expect_equal("written idx_sha256", sha256_hex(read_file(prefix + ".idx")), golden.at("idx_sha256").as_string());
}

}  // namespace

void check_indexed_dataset(const Json& golden, const std::string& folder) {
  const IndexedDataset data(folder + "/" + golden.at("prefix").as_string());
  expect_equal("dtype", long_name(data.dtype()), golden.at("dtype").as_string());
  expect_equal<int64_t>("dtype_code", data.dtype_code(), golden.at("dtype_code").as_int());
  expect_equal("multimodal", data.multimodal(), golden.at("multimodal").as_bool());
  const int64_t count = golden.at("sequence_count").as_int();
  expect_equal("sequence_count", data.sequence_count(), count);
  std::vector<int64_t> lengths, pointers, boundaries, modes;
  for (int64_t i = 0; i < count; ++i) {
    lengths.push_back(data.lengths()[i]);
    pointers.push_back(data.pointer(i));
    if (data.multimodal()) modes.push_back(data.mode(i));
    expect_same(fmt::format("sequence {}", i), widened(data.read_sequence(i)),
                ints(golden.at("sequences").at(static_cast<size_t>(i))));
  }
  for (int64_t i = 0; i < data.boundary_count(); ++i) boundaries.push_back(data.boundary(i));
  expect_same("sequence_lengths", lengths, ints(golden.at("sequence_lengths")));
  expect_same("sequence_pointers", pointers, ints(golden.at("sequence_pointers")));
  expect_same("document_indices", boundaries, ints(golden.at("document_indices")));
  if (data.multimodal()) expect_same("sequence_modes", modes, ints(golden.at("sequence_modes")));
  for (const Json& part : golden.at("partial_reads").as_array()) {
    const int64_t sequence = part.at("sequence").as_int(), offset = part.at("offset").as_int();
    const int64_t length = maybe_int(part.at("length")).value_or(data.lengths()[sequence] - offset);
    std::vector<int32_t> tokens(static_cast<size_t>(length));
    data.read(sequence, offset, tokens);
    expect_same(fmt::format("sequence {} from {}", sequence, offset), widened(tokens), ints(part.at("tokens")));
  }
  check_written_again(golden, data);
}

namespace {

Blend blend_of(const Json& json, const std::string& folder) {
  Blend blend;
  if (json.is_null()) return blend;
  for (const std::string& prefix : strings(json.at(size_t{0}))) blend.prefixes.push_back(folder + "/" + prefix);
  if (!json.at(size_t{1}).is_null()) blend.weights = doubles(json.at(size_t{1}));
  return blend;
}

// What cases of gpt_dataset, blended_dataset and mock_dataset have in common.
struct CaseSetup {
  DataConfig config;
  FieldOptions fields;
};

void read_options(const Json& golden, CaseSetup& setup) {
  using LastSample = GptIndexSpec::LastSample;
  const Json* options = golden.find("options");
  if (options == nullptr) return;
  for (const auto& [key, value] : options->as_object()) {
    if (key == "eod_mask_loss") {
      setup.fields.eod_mask_loss = value.as_bool();
    } else if (key == "reset_position_ids") {
      setup.fields.reset_position_ids = value.as_bool();
    } else if (key == "reset_attention_mask") {
      setup.fields.reset_attention_mask = value.as_bool();
    } else if (key == "inter_document_masking") {
      setup.fields.inter_document_masking = value.as_bool();
    } else if (key == "add_extra_token_to_sequence") {
      setup.config.extra_token = value.as_bool() ? 1 : 0;
    } else if (key == "mid_level_dataset_surplus") {
      setup.config.mid_level_dataset_surplus = value.as_double();
    } else if (key == "drop_last_partial_validation_sequence") {
      setup.config.last_validation_sample = value.as_bool() ? LastSample::kDrop : LastSample::kPad;
    } else if (key != "create_attention_mask") {  // the mask is compared wherever a case has one
      throw NotBuilt(fmt::format("option '{}'", key));
    }
  }
}

CaseSetup setup_of(const Json& golden) {
  CaseSetup setup;
  setup.config.cache.place = IndexCache::Place::kMemory;
  setup.config.seq_length = golden.at("seq_length").as_int();
  setup.config.seed = golden.at("seed").as_int();
  for (size_t i = 0; i < kSplits; ++i) setup.config.samples[i] = maybe_int(golden.at("sizes").at(i));
  const Json* split = golden.find("split");
  if (split != nullptr && !split->is_null()) setup.config.split = split->as_string();
  setup.config.vocab_size = golden.at("vocab_size").as_int();
  setup.config.eod = golden.at("eod").as_int();
  read_options(golden, setup);
  setup.fields.seq_length = setup.config.seq_length;
  setup.fields.eod = setup.config.eod;
  if (const Json* pad = golden.find("pad")) setup.fields.pad = maybe_int(*pad);
  return setup;
}

// Row of the mask as the golden cases write it: 1 = may not attend.
std::string mask_row(const std::vector<int32_t>& cu_seqlens, int64_t row, int64_t seq_length) {
  int64_t begin = 0;
  for (const int32_t bound : cu_seqlens) {
    if (bound <= row) begin = bound;
  }
  std::string text(static_cast<size_t>(seq_length), '1');
  for (int64_t column = begin; column <= row; ++column) text[static_cast<size_t>(column)] = '0';
  return text;
}

void check_mask(const Json& wanted, const std::vector<int32_t>& cu_seqlens, int64_t seq_length,
                const std::string& what) {
  if (const Json* mask = wanted.find("attention_mask")) {
    for (int64_t row = 0; row < seq_length; ++row) {
      expect_equal(fmt::format("{} attention_mask[{}]", what, row), mask_row(cu_seqlens, row, seq_length),
                   mask->at(static_cast<size_t>(row)).as_string());
    }
  }
  if (const Json* bounds = wanted.find("cu_seqlens")) {
    std::vector<int64_t> padded = widened(cu_seqlens);
    int64_t longest = 0;
    for (size_t i = 1; i < padded.size(); ++i) longest = std::max(longest, padded[i] - padded[i - 1]);
    padded.resize(bounds->size(), seq_length);
    expect_same(what + " cu_seqlens", padded, ints(*bounds));
    expect_equal(what + " max_seqlen", longest, wanted.at("max_seqlen").as_int());
  }
}

void check_samples(const SplitData& data, const Json& wanted, const FieldOptions& options, const std::string& split) {
  const size_t length = static_cast<size_t>(options.seq_length);
  std::vector<int32_t> tokens(length), labels(length), positions(length);
  std::vector<float> loss_mask(length);
  TokenSample sample;
  for (const Json& entry : wanted.as_array()) {
    const int64_t index = entry.at("index").as_int();
    const std::string what = fmt::format("{} sample {}", split, index);
    data.samples->fetch(index, sample);
    const std::vector<int32_t> cu_seqlens = make_fields(sample.text, options, {tokens, labels, loss_mask, positions});
    expect_same(what + " tokens", widened(tokens), ints(entry.at("tokens")));
    expect_same(what + " labels", widened(labels), ints(entry.at("labels")));
    if (const Json* mask = entry.find("loss_mask")) {
      expect_same(what + " loss_mask", {loss_mask.begin(), loss_mask.end()}, doubles(*mask));
    }
    if (const Json* ids = entry.find("position_ids")) {
      expect_same(what + " position_ids", widened(positions), ints(*ids));
    }
    check_mask(entry, cu_seqlens, options.seq_length, what);
  }
}

std::vector<int64_t> flat(const Json& head) {
  std::vector<int64_t> out;
  for (const Json& entry : head.as_array()) {
    const std::vector<int64_t> numbers = entry.is_array() ? ints(entry) : std::vector<int64_t>{entry.as_int()};
    out.insert(out.end(), numbers.begin(), numbers.end());
  }
  return out;
}

void check_array(const IndexFile& file, const std::string& section, const Json& wanted, const std::string& split) {
  const std::string what = split + " " + section;
  const DType dtype = file.dtype(section);
  const std::span<const std::byte> bytes = file.bytes(section);
  const int64_t count = static_cast<int64_t>(bytes.size()) / dtype_size(dtype);
  expect_equal(what + " dtype", long_name(dtype), wanted.at("dtype").as_string());
  int64_t entries = 1;
  for (const int64_t extent : ints(wanted.at("shape"))) entries *= extent;
  expect_equal(what + " number of entries", count, entries);
  const std::vector<int64_t> head = flat(wanted.at("head"));
  for (size_t i = 0; i < head.size() && static_cast<int64_t>(i) < count; ++i) {
    int64_t got = 0;
    if (dtype == DType::kI32) got = file.view<int32_t>(section)[i];
    if (dtype == DType::kU32) got = file.view<uint32_t>(section)[i];
    if (dtype == DType::kI64) got = file.view<int64_t>(section)[i];
    expect_equal(fmt::format("{} entry {}", what, i), got, head[i]);
  }
  expect_equal(what + " sha256", sha256_hex(bytes), wanted.at("sha256").as_string());
}

void check_index(const SplitData& data, const Json& wanted, const std::string& split) {
  const GptIndex& index = data.datasets.at(0)->indices().at(0);
  const GptIndexFacts& facts = index.facts();
  expect_same(split + " documents", {index.spec().first, index.spec().past_last}, ints(wanted.at("documents")));
  expect_equal(split + " num_tokens_per_epoch", facts.tokens_per_epoch, wanted.at("num_tokens_per_epoch").as_int());
  expect_equal(split + " num_epochs", facts.epochs, wanted.at("num_epochs").as_int());
  expect_equal(split + " separate_final_epoch", facts.separate_final_epoch,
               wanted.at("separate_final_epoch").as_bool());
  for (const char* section : {"document_index", "sample_index", "shuffle_index"}) {
    check_array(index.file(), section, wanted.at(section), split);
  }
}

void check_requested(const std::optional<int64_t>& got, const Json& wanted, const std::string& what) {
  expect_equal(what + " num_samples_requested", got.value_or(-1), maybe_int(wanted).value_or(-1));
}

void check_blend(const SplitData& data, const Json& wanted, const std::string& split) {
  const bool blended = wanted.at("type").as_string() == "blended";
  expect_equal(split + " is blended", data.blended != nullptr, blended);
  if (!blended) return check_requested(data.requested.at(0), wanted.at("num_samples_requested"), split);
  const Json& datasets = wanted.at("datasets");
  for (size_t k = 0; k < datasets.size(); ++k) {
    const std::string what = fmt::format("{} data set {}", split, k);
    check_requested(data.requested.at(k), datasets.at(k).at("num_samples_requested"), what);
    expect_equal(what + " length", data.datasets.at(k)->size(), datasets.at(k).at("length").as_int());
  }
  const IndexFile& file = data.blended->file();
  const auto dataset = file.view<int16_t>("dataset_index");
  const auto sample = file.view<int64_t>("dataset_sample_index");
  const Json& picks = wanted.at("picks");
  for (size_t i = 0; i < picks.size() && i < dataset.size(); ++i) {
    expect_same(fmt::format("{} pick {}", split, i), {int64_t{dataset[i]}, sample[i]}, ints(picks.at(i)));
  }
  for (const std::string name : {"dataset_index", "dataset_sample_index"}) {
    expect_equal(fmt::format("{} {} sha256", split, name), sha256_hex(file.bytes(name)),
                 wanted.at(name + "_sha256").as_string());
  }
}

enum class Form { kOne, kBlend };

void check_splits(const DataSets& data, const Json& golden, const FieldOptions& fields, Form form) {
  const Json* wanted_splits = golden.find("splits");
  if (wanted_splits == nullptr) return;
  for (int i = 0; i < kSplits; ++i) {
    const Split which = static_cast<Split>(i);
    const std::string name(split_name(which));
    const SplitData& split = data.split(which);
    const Json& wanted = wanted_splits->at(name);
    expect_equal(name + " is null", split.samples == nullptr, wanted.is_null());
    if (wanted.is_null()) continue;
    expect_equal(name + " length", split.samples->size(), wanted.at("length").as_int());
    if (form == Form::kOne) {
      check_requested(split.requested.at(0), wanted.at("num_samples_requested"), name);
      check_index(split, wanted, name);
    } else {
      check_blend(split, wanted, name);
    }
    if (const Json* samples = wanted.find("samples")) check_samples(split, *samples, fields, name);
  }
}

}  // namespace

void check_gpt_dataset(const Json& golden, const std::string& folder) {
  CaseSetup setup = setup_of(golden);
  setup.config.blend.prefixes = {folder + "/" + golden.at("prefix").as_string()};
  check_splits(DataSets(setup.config), golden, setup.fields, Form::kOne);
}

void check_blended_dataset(const Json& golden, const std::string& folder) {
  CaseSetup setup = setup_of(golden);
  setup.config.blend = blend_of(golden.at("blend"), folder);
  if (const Json& per_split = golden.at("blend_per_split"); !per_split.is_null()) {
    for (size_t i = 0; i < kSplits; ++i) setup.config.blend_per_split[i] = blend_of(per_split.at(i), folder);
  }
  check_splits(DataSets(setup.config), golden, setup.fields, Form::kBlend);
}

void check_mock_dataset(const Json& golden, const std::string&) {
  CaseSetup setup = setup_of(golden);
  setup.config.mock = true;
  setup.config.split.clear();
  const DataSets data(setup.config);
  const LengthView lengths = data.split(Split::kTrain).sources.at(0)->lengths();
  std::vector<int64_t> first;
  int64_t total = 0;
  for (int64_t i = 0; i < lengths.size(); ++i) total += lengths[i];
  const std::vector<int64_t> wanted = ints(golden.at("first_sequence_lengths"));
  for (size_t i = 0; i < wanted.size(); ++i) first.push_back(lengths[static_cast<int64_t>(i)]);
  expect_same("first_sequence_lengths", first, wanted);
  expect_equal("total_tokens", total, golden.at("total_tokens").as_int());
  check_splits(data, golden, setup.fields, Form::kOne);
}

}  // namespace conclave::proof
