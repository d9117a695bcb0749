#include "checkpoint/directory.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "checkpoint/manifest.h"

namespace conclave {
namespace {

namespace fs = std::filesystem;

// The number in exactly "iter_%07d".
std::optional<int64_t> iteration_of(const std::string& name) {
  if (!name.starts_with("iter_")) return std::nullopt;
  const std::optional<int64_t> number = parse_int(name.substr(5));
  if (!number || *number < 0 || checkpoint_name(*number) != name) return std::nullopt;
  return number;
}

std::string list_text(const std::vector<int64_t>& iterations) {
  std::string out;
  const size_t first = iterations.size() > 8 ? iterations.size() - 8 : 0;
  for (size_t i = first; i < iterations.size(); ++i) out += fmt::format("{}{}", i > first ? ", " : "", iterations[i]);
  return (first > 0 ? "..., " : "") + out;
}

// What to do where a checkpoint that was asked for is not there.
std::string choices(const std::string& run_directory) {
  const std::vector<int64_t> present = list_checkpoints(run_directory);
  if (present.empty()) return "there is no complete checkpoint in it";
  return fmt::format("complete checkpoints there: {}; choose one with --ckpt-step", list_text(present));
}

CheckpointLocation location(const std::string& run_directory, int64_t iteration) {
  return {run_directory + "/" + checkpoint_name(iteration), iteration};
}

// What follows "MARK" in a name, as a process id; nothing if it does not stand there.
std::optional<int64_t> owner_of(const std::string& name, std::string_view mark) {
  const size_t place = name.find(mark);
  if (place == std::string::npos) return std::nullopt;
  return parse_int(name.substr(place + mark.size()));
}

// A writer holds a lock on its directory as long as it lives; where the file system has no locks, the process id
// decides.
bool is_abandoned(const std::string& directory, int64_t owner) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool free = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  const bool held = !free && errno == EWOULDBLOCK;
  ::close(fd);
  if (free) return true;
  if (held) return false;
  return ::kill(static_cast<pid_t>(owner), 0) != 0 && errno == ESRCH;
}

bool is_leftover(const std::string& path, const std::string& name) {
  if (name.starts_with("iter_")) {
    if (owner_of(name, ".removed.")) return true;
    const std::optional<int64_t> owner = owner_of(name, ".partial.");
    return owner && is_abandoned(path, *owner);
  }
  const std::optional<int64_t> owner = owner_of(name, ".txt.tmp.");
  return owner && name.starts_with("latest_checkpointed_iteration") &&
         (*owner == ::getpid() || ::kill(static_cast<pid_t>(*owner), 0) != 0);
}

}  // namespace

std::string checkpoint_name(int64_t iteration) { return fmt::format("iter_{:07}", iteration); }

std::vector<int64_t> list_checkpoints(const std::string& run_directory) {
  std::vector<int64_t> found;
  std::error_code code;
  for (fs::directory_iterator it(run_directory, code), end; !code && it != end; it.increment(code)) {
    const std::optional<int64_t> iteration = iteration_of(it->path().filename().string());
    if (iteration && file_exists(it->path().string() + "/" + kManifestFile)) found.push_back(*iteration);
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<CheckpointLocation> find_checkpoint(const std::string& load, int64_t step) {
  std::string directory = load;
  while (directory.size() > 1 && directory.back() == '/') directory.pop_back();
  if (file_exists(directory + "/" + kManifestFile)) {
    const std::optional<int64_t> iteration = iteration_of(fs::path(directory).filename().string());
    CONCLAVE_USER_CHECK(step == 0 || !iteration || *iteration == step,
                        "[checkpoint/load] '{}' is one checkpoint, --ckpt-step {} asks for another; give the directory "
                        "above it",
                        directory, step);
    return CheckpointLocation{directory, iteration.value_or(0)};
  }
  if (step > 0) {
    const CheckpointLocation asked = location(directory, step);
    CONCLAVE_USER_CHECK(file_exists(asked.directory + "/" + kManifestFile),
                        "[checkpoint/load] --ckpt-step {}: '{}' has no complete checkpoint of that iteration; {}", step,
                        directory, choices(directory));
    return asked;
  }
  const std::string latest_file = directory + "/" + kLatestFile;
  if (!file_exists(latest_file)) {
    const std::vector<int64_t> present = list_checkpoints(directory);
    if (present.empty()) return std::nullopt;
    return location(directory, present.back());
  }
  const std::string text = read_file(latest_file);
  const std::optional<int64_t> iteration = parse_int(trim(text));
  CONCLAVE_USER_CHECK(iteration && *iteration >= 0,
                      "[checkpoint/load] '{}' must hold an iteration number, it holds '{}'; {}", latest_file,
                      trim(text).substr(0, 40), choices(directory));
  const CheckpointLocation latest = location(directory, *iteration);
  CONCLAVE_USER_CHECK(file_exists(latest.directory + "/" + kManifestFile),
                      "[checkpoint/load] '{}' names iteration {}, but '{}' is not there or not complete; {}",
                      latest_file, *iteration, latest.directory, choices(directory));
  return latest;
}

std::vector<int64_t> superseded_checkpoints(const std::vector<int64_t>& present, int64_t latest,
                                            const Retention& retention) {
  int64_t keep_last = retention.keep_last;
  if (keep_last == 0) {
    if (retention.interval == 0) return {};
    keep_last = 1;
  }
  std::vector<int64_t> gone;
  int64_t newer = 1;  // `latest` itself
  for (auto it = present.rbegin(); it != present.rend(); ++it) {
    if (*it >= latest) continue;
    if (newer++ < keep_last) continue;
    if (retention.interval > 0 && *it % retention.interval == 0) continue;
    gone.push_back(*it);
  }
  std::reverse(gone.begin(), gone.end());
  return gone;
}

int64_t clean_run_directory(const std::string& run_directory) {
  std::vector<std::string> leftovers;
  std::error_code code;
  for (fs::directory_iterator it(run_directory, code), end; !code && it != end; it.increment(code)) {
    const std::string path = it->path().string();
    if (is_leftover(path, it->path().filename().string())) leftovers.push_back(path);
  }
  for (const std::string& path : leftovers) remove_all(path);
  return static_cast<int64_t>(leftovers.size());
}

std::string advice_for_damaged(const std::string& checkpoint_directory) {
  const fs::path path(checkpoint_directory);
  const std::string parent = path.parent_path().empty() ? "." : path.parent_path().string();
  const std::optional<int64_t> iteration = iteration_of(path.filename().string());
  std::optional<int64_t> earlier;
  for (const int64_t other : list_checkpoints(parent)) {
    if (iteration && other < *iteration) earlier = other;
  }
  if (earlier)
    return fmt::format("; load an earlier one with --ckpt-step {}, or restore this one from a copy", *earlier);
  return "; restore the checkpoint from a copy (there is no earlier one beside it)";
}

}  // namespace conclave
