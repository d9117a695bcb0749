#include "trainer/inspect.h"

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "checkpoint/difference.h"
#include "checkpoint/directory.h"
#include "checkpoint/manifest.h"
#include "data/indexed_dataset.h"
#include "trainer/text_table.h"

namespace conclave {
namespace {

enum class SubjectKind { kCheckpoint, kRun, kDataset };

struct Subject {
  SubjectKind kind = SubjectKind::kRun;
  std::string path;
};

Subject subject_of(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (file_exists(path + "/" + kManifestFile)) return {SubjectKind::kCheckpoint, path};
  if (is_directory(path)) {
    CONCLAVE_USER_CHECK(
        !list_checkpoints(path).empty() || file_exists(path + "/metrics.jsonl"),
        "[trainer/inspect] directory '{}' is neither a checkpoint ({}) nor a run (iter_... directories or "
        "metrics.jsonl); check the path",
        path, kManifestFile);
    return {SubjectKind::kRun, path};
  }
  for (const char* ending : {".idx", ".bin"}) {
    if (path.ends_with(ending) && file_exists(path)) path.resize(path.size() - 4);
  }
  CONCLAVE_USER_CHECK(file_exists(path + ".idx"),
                      "[trainer/inspect] there is no directory '{}' and no data set '{}.idx'; check the path", path,
                      path);
  return {SubjectKind::kDataset, path};
}

// The checkpoint that a path stands for.
std::string checkpoint_of(const std::string& path) {
  const std::optional<CheckpointLocation> found = find_checkpoint(path);
  CONCLAVE_USER_CHECK(found.has_value(), "[trainer/inspect] '{}' is no checkpoint and no run with one; check the path",
                      path);
  return found->directory;
}

// Adds the faults of one checkpoint.
void add_faults(const std::string& directory, Inspection& out) {
  const std::vector<CheckpointFault> faults = verify_checkpoint(directory);
  Json list = Json::array();
  for (const CheckpointFault& fault : faults) {
    Json entry = Json::object();
    entry["file"] = fault.file;
    entry["tensor"] = fault.tensor;
    entry["text"] = fault.text;
    list.push_back(std::move(entry));
    out.text += fmt::format("  {}{}: {}\n", fault.file,
                            fault.tensor.empty() ? "" : fmt::format(", tensor '{}'", fault.tensor), fault.text);
  }
  out.text += faults.empty()
                  ? fmt::format("{}: every checksum is right\n", directory)
                  : fmt::format("{}: {} faults{}\n", directory, faults.size(), advice_for_damaged(directory));
  Json entry = Json::object();
  entry["directory"] = directory;
  entry["faults"] = std::move(list);
  out.json["checkpoints"].push_back(std::move(entry));
  if (!faults.empty()) out.sound = false;
}

std::string index_text(const std::vector<int64_t>& index) {
  std::vector<std::string> parts;
  for (const int64_t each : index) parts.push_back(std::to_string(each));
  return fmt::format("[{}]", join(parts, ", "));
}

std::string difference_text(const TensorDifference& difference) {
  using Kind = TensorDifference::Kind;
  switch (difference.kind) {
    case Kind::kEqual:
      return "equal";
    case Kind::kOnlyInA:
      return "only in the first";
    case Kind::kOnlyInB:
      return "only in the second";
    case Kind::kShape:
      return fmt::format("shape {} and {}", difference.a, difference.b);
    case Kind::kDType:
      return fmt::format("dtype {} and {}", difference.a, difference.b);
    case Kind::kValues:
      break;
  }
  return fmt::format("{} elements, largest difference {:.3g} (relative {:.3g}), first at {}: {:.9g} and {:.9g}",
                     difference.differing_elements, difference.max_absolute, difference.max_relative,
                     index_text(difference.first_index), difference.first_a, difference.first_b);
}

Json difference_json(const TensorDifference& difference) {
  constexpr const char* kKinds[] = {"equal", "values", "dtype", "shape", "only_in_a", "only_in_b"};
  Json entry = Json::object();
  entry["name"] = difference.name;
  entry["kind"] = kKinds[static_cast<int>(difference.kind)];
  if (difference.kind != TensorDifference::Kind::kValues) return entry;
  entry["differing_elements"] = difference.differing_elements;
  entry["max_absolute"] = difference.max_absolute;
  entry["max_relative"] = difference.max_relative;
  Json index = Json::array();
  for (const int64_t each : difference.first_index) index.push_back(each);
  entry["first_index"] = std::move(index);
  entry["first_a"] = difference.first_a;
  entry["first_b"] = difference.first_b;
  return entry;
}

}  // namespace

Inspection inspect_path(const std::string& path) {
  const Subject subject = subject_of(path);
  switch (subject.kind) {
    case SubjectKind::kCheckpoint:
      return inspect_checkpoint(subject.path);
    case SubjectKind::kRun:
      return inspect_run(subject.path);
    case SubjectKind::kDataset:
      return inspect_dataset(subject.path);
  }
  return {};
}

Inspection verify_path(const std::string& path) {
  const Subject subject = subject_of(path);
  Inspection out;
  if (subject.kind == SubjectKind::kDataset) {
    const IndexedDataset dataset(subject.path, IndexCheck::kWhole);  // throws what is wrong
    out.text = fmt::format("{}: index and data fit each other\n", subject.path);
    out.json["dataset"] = subject.path;
    return out;
  }
  out.json["checkpoints"] = Json::array();
  if (subject.kind == SubjectKind::kCheckpoint) {
    add_faults(subject.path, out);
  } else {
    const std::vector<int64_t> present = list_checkpoints(subject.path);
    if (present.empty()) out.text = "there is no complete checkpoint\n";
    for (const int64_t iteration : present) add_faults(subject.path + "/" + checkpoint_name(iteration), out);
  }
  return out;
}

Inspection compare_paths(const std::string& path, const std::string& other) {
  const CheckpointReader a(checkpoint_of(path)), b(checkpoint_of(other));
  Inspection out;
  out.json["a"] = a.directory();
  out.json["b"] = b.directory();
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows;
  int64_t equal = 0;
  for (const TensorDifference& difference : compare_checkpoints(a, b)) {
    list.push_back(difference_json(difference));
    if (difference.kind == TensorDifference::Kind::kEqual) {
      ++equal;
    } else {
      rows.push_back({difference.name, difference_text(difference)});
    }
  }
  out.json["tensors"] = std::move(list);
  out.sound = rows.empty();
  out.text = fmt::format("first:  {}\nsecond: {}\n", a.directory(), b.directory());
  if (!rows.empty()) out.text += text_table({"tensor", "difference"}, rows);
  out.text += fmt::format("{} tensors equal bit for bit, {} not\n", equal, rows.size());
  return out;
}

Inspection inspect_dataset(const std::string& prefix) {
  const IndexedDataset dataset(prefix);
  const LengthView lengths = dataset.lengths();
  int64_t shortest = lengths.size() == 0 ? 0 : INT64_MAX, longest = 0;
  for (int64_t i = 0; i < lengths.size(); ++i) {
    shortest = std::min<int64_t>(shortest, lengths[i]);
    longest = std::max<int64_t>(longest, lengths[i]);
  }
  const int64_t documents = std::max<int64_t>(dataset.boundary_count() - 1, 0);
  Inspection out;
  out.json["dataset"] = prefix;
  out.json["documents"] = documents;
  out.json["sequences"] = lengths.size();
  out.json["tokens"] = dataset.token_count();
  out.json["dtype"] = dtype_name(dataset.dtype());
  out.json["bytes"] = dataset.bin_bytes();
  out.json["shortest_sequence"] = shortest;
  out.json["longest_sequence"] = longest;
  out.text = fmt::format("data set {}\n  {} documents in {} sequences, {} tokens ({}) of {}, {}\n", prefix, documents,
                         lengths.size(), dataset.token_count(), human_count(static_cast<double>(dataset.token_count())),
                         dtype_name(dataset.dtype()), human_bytes(dataset.bin_bytes()));
  if (lengths.size() > 0) {
    out.text += fmt::format("  tokens in a sequence: {} to {}, {:.1f} on average\n", shortest, longest,
                            static_cast<double>(dataset.token_count()) / static_cast<double>(lengths.size()));
  }
  return out;
}

}  // namespace conclave
