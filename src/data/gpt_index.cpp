#include "data/gpt_index.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "data/random.h"

namespace conclave {
namespace {

constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

int64_t samples_in(int64_t tokens, const GptIndexSpec& spec) { return (tokens - spec.extra_token) / spec.seq_length; }

template <typename T>
std::span<T> typed(std::span<std::byte> bytes) {
  return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
}

void fill_documents(std::span<int32_t> out, const GptIndexSpec& spec, NumpyRandomState& random) {
  const int64_t documents = spec.past_last - spec.first;
  for (size_t begin = 0; begin < out.size(); begin += static_cast<size_t>(documents)) {
    std::iota(out.begin() + static_cast<std::ptrdiff_t>(begin),
              out.begin() + static_cast<std::ptrdiff_t>(begin) + documents, static_cast<int32_t>(spec.first));
  }
  random.shuffle(out);
}

template <typename T>
void fill_starts(std::span<T> out, LengthView lengths, std::span<const int32_t> documents, const GptIndexSpec& spec) {
  size_t position = 0;
  int64_t offset = 0;
  out[0] = out[1] = 0;
  for (size_t sample = 1; sample * 2 < out.size(); ++sample) {
    int64_t wanted = spec.seq_length + spec.extra_token;
    while (true) {
      const int64_t left = lengths[documents[position]] - offset;
      if (wanted <= left) {
        offset += wanted - spec.extra_token;
        break;
      }
      wanted -= left;
      if (position + 1 == documents.size()) {  // only the last sample, and only if it may be padded
        offset = lengths[documents[position]] - spec.extra_token;
        break;
      }
      ++position;
      offset = 0;
    }
    out[sample * 2] = static_cast<T>(position);
    out[sample * 2 + 1] = static_cast<T>(offset);
  }
}

template <typename T>
void fill_shuffle(std::span<T> out, size_t first_part, NumpyRandomState& random) {
  std::iota(out.begin(), out.end(), T{0});
  random.shuffle(out.first(first_part));
  if (first_part < out.size()) random.shuffle(out.subspan(first_part));
}

void fill_index(LengthView lengths, const GptIndexSpec& spec, const IndexPlan& plan,
                std::span<const std::span<std::byte>> arrays) {
  const GptIndexFacts facts = GptIndexFacts::from_json(plan.facts);
  NumpyRandomState random(static_cast<uint32_t>(spec.seed));
  const std::span<int32_t> documents = typed<int32_t>(arrays[0]);
  if (facts.separate_final_epoch) {
    const size_t last = static_cast<size_t>(spec.past_last - spec.first);
    fill_documents(documents.first(documents.size() - last), spec, random);
    fill_documents(documents.last(last), spec, random);
  } else {
    fill_documents(documents, spec, random);
  }
  if (plan.sections[1].dtype == DType::kI32) {
    fill_starts(typed<int32_t>(arrays[1]), lengths, documents, spec);
  } else {
    fill_starts(typed<int64_t>(arrays[1]), lengths, documents, spec);
  }
  const size_t first_part =
      static_cast<size_t>(facts.separate_final_epoch ? facts.samples_sans_final_epoch : facts.samples);
  if (plan.sections[2].dtype == DType::kU32) {
    fill_shuffle(typed<uint32_t>(arrays[2]), first_part, random);
  } else {
    fill_shuffle(typed<int64_t>(arrays[2]), first_part, random);
  }
}

IndexPlan plan_index(const TokenSource& source, const GptIndexSpec& spec) {
  source.check_whole();
  const GptIndexFacts facts = gpt_index_facts(source, spec);
  const int64_t positions = facts.epochs * (spec.past_last - spec.first);
  IndexPlan plan;
  plan.facts = facts.to_json();
  const bool wide_shuffle = facts.samples >= std::numeric_limits<uint32_t>::max() - int64_t{1};
  plan.sections = {{"document_index", DType::kI32, positions},
                   {"sample_index", positions <= kInt32Max ? DType::kI32 : DType::kI64, 2 * (facts.samples + 1)},
                   {"shuffle_index", wide_shuffle ? DType::kI64 : DType::kU32, facts.samples}};
  return plan;
}

Json describe(const TokenSource& source, const GptIndexSpec& spec) {
  Json out = Json::object();
  out["kind"] = "gpt";
  out["version"] = 1;
  out["source"] = source.fingerprint();
  out["first"] = spec.first;
  out["past_last"] = spec.past_last;
  out["seq_length"] = spec.seq_length;
  out["seed"] = spec.seed;
  out["num_samples"] = spec.num_samples ? Json(*spec.num_samples) : Json();
  out["extra_token"] = spec.extra_token;
  out["last"] = spec.last == GptIndexSpec::LastSample::kPad ? "pad" : "drop";
  return out;
}

int64_t epochs_for(int64_t tokens_per_epoch, const TokenSource& source, const GptIndexSpec& spec) {
  if (!spec.num_samples) return 1;
  // At most what 64 bits hold, and a document index of at most 64 GiB.
  CONCLAVE_USER_CHECK(*spec.num_samples <= std::numeric_limits<int64_t>::max() / 2 / (spec.seq_length + 1),
                      "[data] {} samples of {} tokens are too many", *spec.num_samples, spec.seq_length);
  const int64_t tokens = *spec.num_samples * spec.seq_length + spec.extra_token;
  const int64_t epochs = std::max<int64_t>(1, ceil_div(tokens, tokens_per_epoch));
  CONCLAVE_USER_CHECK(
      epochs <= (int64_t{1} << 34) / (spec.past_last - spec.first),
      "[data] '{}': {} samples of {} tokens would need {} epochs of its {} tokens; give more data or ask "
      "for fewer samples",
      source.name(), *spec.num_samples, spec.seq_length, epochs, tokens_per_epoch);
  return epochs;
}

}  // namespace

Json GptIndexFacts::to_json() const {
  Json out = Json::object();
  out["tokens_per_epoch"] = tokens_per_epoch;
  out["epochs"] = epochs;
  out["separate_final_epoch"] = separate_final_epoch;
  out["samples"] = samples;
  out["samples_sans_final_epoch"] = samples_sans_final_epoch;
  return out;
}

GptIndexFacts GptIndexFacts::from_json(const Json& json) {
  GptIndexFacts facts;
  facts.tokens_per_epoch = json.at("tokens_per_epoch").as_int();
  facts.epochs = json.at("epochs").as_int();
  facts.separate_final_epoch = json.at("separate_final_epoch").as_bool();
  facts.samples = json.at("samples").as_int();
  facts.samples_sans_final_epoch = json.at("samples_sans_final_epoch").as_int();
  return facts;
}

GptIndexFacts gpt_index_facts(const TokenSource& source, const GptIndexSpec& spec) {
  CONCLAVE_CHECK(spec.first >= 0 && spec.first <= spec.past_last && spec.past_last <= source.sequence_count(),
                 "split [{}, {}) of {} sequences", spec.first, spec.past_last, source.sequence_count());
  CONCLAVE_USER_CHECK(spec.seq_length > 1, "[data] sequence length is {}; it must be at least 2", spec.seq_length);
  CONCLAVE_USER_CHECK(spec.seed >= 0 && spec.seed <= 0xffffffffll, "[data] seed is {}; it must be from 0 to 2^32 - 1",
                      spec.seed);
  CONCLAVE_CHECK(!spec.num_samples || *spec.num_samples >= 0, "{} samples", *spec.num_samples);
  GptIndexFacts facts;
  const LengthView lengths = source.lengths();
  for (int64_t i = spec.first; i < spec.past_last; ++i) facts.tokens_per_epoch += lengths[i];
  CONCLAVE_USER_CHECK(facts.tokens_per_epoch > 1,
                      "[data] '{}': the split has {} documents with {} tokens, at least 2 tokens are needed; change "
                      "--split or give more data",
                      source.name(), spec.past_last - spec.first, facts.tokens_per_epoch);
  facts.epochs = epochs_for(facts.tokens_per_epoch, source, spec);
  const int64_t tokens = facts.epochs * facts.tokens_per_epoch;
  facts.samples = samples_in(tokens, spec);
  if (spec.last == GptIndexSpec::LastSample::kPad) {
    facts.samples = ceil_div(tokens - spec.extra_token, spec.seq_length);
  }
  if (facts.epochs > 1) {
    facts.samples_sans_final_epoch = samples_in((facts.epochs - 1) * facts.tokens_per_epoch, spec);
    const int64_t from_final = *spec.num_samples - facts.samples_sans_final_epoch;
    const double per_epoch = static_cast<double>(samples_in(facts.tokens_per_epoch, spec));
    facts.separate_final_epoch = from_final < static_cast<int64_t>(0.80 * per_epoch);
  }
  return facts;
}

GptIndex::GptIndex(const TokenSource& source, const GptIndexSpec& spec, const IndexCache& cache,
                   const std::string& label)
    : spec_(spec) {
  IndexRecipe recipe;
  recipe.label = label;
  recipe.description = describe(source, spec);
  recipe.plan = [&] { return plan_index(source, spec); };
  recipe.fill = [&](const IndexPlan& plan, std::span<const std::span<std::byte>> arrays) {
    fill_index(source.lengths(), spec, plan, arrays);
  };
  file_ = load_or_build_index(cache, source.name(), recipe);
  facts_ = GptIndexFacts::from_json(file_->facts());
  documents_ = file_->view<int32_t>("document_index");
  if (file_->dtype("sample_index") == DType::kI32) {
    starts32_ = file_->view<int32_t>("sample_index");
  } else {
    starts64_ = file_->view<int64_t>("sample_index");
  }
  if (file_->dtype("shuffle_index") == DType::kU32) {
    shuffle32_ = file_->view<uint32_t>("shuffle_index");
  } else {
    shuffle64_ = file_->view<int64_t>("shuffle_index");
  }
}

void GptIndex::damaged(std::string_view what, int64_t value) const {
  throw_user(fmt::format("the index cache '{}' is damaged: {} {} is out of range; remove it, it will be made anew",
                         file_->path(), what, value));
}

int64_t GptIndex::document(int64_t position) const {
  CONCLAVE_CHECK(position >= 0 && position < document_count(), "document {} of {}", position, document_count());
  const int64_t document = documents_[static_cast<size_t>(position)];
  if (document < spec_.first || document >= spec_.past_last) damaged("document", document);
  return document;
}

SampleStart GptIndex::start(int64_t i) const {
  CONCLAVE_CHECK(i >= 0 && i <= facts_.samples, "begin of sample {} of {}", i, facts_.samples);
  const size_t at = static_cast<size_t>(2 * i);
  const SampleStart start =
      starts64_.empty() ? SampleStart{starts32_[at], starts32_[at + 1]} : SampleStart{starts64_[at], starts64_[at + 1]};
  if (start.position < 0 || start.position >= document_count()) damaged("position", start.position);
  return start;
}

int64_t GptIndex::shuffled(int64_t i) const {
  CONCLAVE_CHECK(i >= 0 && i < facts_.samples, "sample {} of {}", i, facts_.samples);
  const int64_t sample =
      shuffle64_.empty() ? int64_t{shuffle32_[static_cast<size_t>(i)]} : shuffle64_[static_cast<size_t>(i)];
  if (sample < 0 || sample >= facts_.samples) damaged("sample", sample);
  return sample;
}

}  // namespace conclave
