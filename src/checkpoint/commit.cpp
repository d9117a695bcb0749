// Making a checkpoint appear.
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint/part_writer.h"

namespace conclave {
namespace {

void write_durably(const std::string& path, const std::string& text) {
  OutputFile file(path);
  file.write(text);
  file.sync();
  file.close();
}

// Renames a directory under another name that a reader ignores and removes it, so that a half-removed checkpoint never
// looks whole.
void remove_checkpoint(const std::string& path) {
  const std::string doomed = fmt::format("{}.removed.{}", path, ::getpid());
  rename_durably(path, doomed);
  remove_all(doomed);
}

// For what must not turn a save that succeeded into a failure.
void remove_quietly(const std::string& path) {
  try {
    remove_all(path);
  } catch (const std::exception& error) {
    log_warning("[checkpoint/save] something superfluous stays behind: {}", error.what());
  }
}

// Puts `from` in the place of the directory `to`. Where the file system can, both names are exchanged in one step, and
// `from` is then the old one; elsewhere the old one is gone for an instant.
void replace_directory(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    remove_quietly(from);
    return;
  }
  remove_checkpoint(to);
  rename_durably(from, to);
}

}  // namespace

std::string PartialDirectory::path_for(const std::string& run_directory, int64_t iteration, int64_t pid) {
  return fmt::format("{}/{}.partial.{}", run_directory, checkpoint_name(iteration), pid);
}

PartialDirectory::PartialDirectory(const std::string& run_directory, int64_t iteration)
    : run_directory_(run_directory), iteration_(iteration), path_(path_for(run_directory, iteration, ::getpid())) {
  remove_all(path_);
  make_directories(path_);
  fd_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ >= 0) ::flock(fd_, LOCK_EX | LOCK_NB);  // a file system without locks goes by the process id
}

PartialDirectory::~PartialDirectory() {
  if (!committed_) remove_quietly(path_);
  if (fd_ >= 0) ::close(fd_);
}

std::string PartialDirectory::commit(const Manifest& manifest, const Retention& retention) {
  CONCLAVE_CHECK_EQ(manifest.iteration, iteration_, "manifest of another iteration");
  write_durably(path_ + "/" + kManifestFile, manifest_text(manifest));
  sync_directory(path_);
  // Both files stand on the disk before either name changes, so that a full disk fails before the checkpoint appears.
  const std::string latest = run_directory_ + "/" + kLatestFile;
  const std::string next_latest = fmt::format("{}.tmp.{}", latest, ::getpid());
  const std::string final_path = run_directory_ + "/" + checkpoint_name(iteration_);
  try {
    write_durably(next_latest, fmt::format("{}\n", iteration_));
    if (file_exists(final_path)) {
      replace_directory(path_, final_path);
    } else {
      rename_durably(path_, final_path);
    }
    committed_ = true;
    sync_directory(run_directory_);
    rename_durably(next_latest, latest);
  } catch (...) {
    remove_quietly(next_latest);
    throw;
  }
  for (const int64_t old : superseded_checkpoints(list_checkpoints(run_directory_), iteration_, retention)) {
    try {
      remove_checkpoint(run_directory_ + "/" + checkpoint_name(old));
    } catch (const std::exception& error) {
      log_warning("[checkpoint/save] {} could not be removed: {}", checkpoint_name(old), error.what());
    }
  }
  return final_path;
}

}  // namespace conclave
