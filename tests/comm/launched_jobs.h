// Jobs of several processes as a user starts them: mpirun, what it prints, how it ends, what it leaves behind.
#pragma once

#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/clock.h"
#include "comm/launcher.h"

namespace conclave {

struct Job {
  std::string output;  ///< both streams of all ranks and of the launcher
  int exit_code = 0;
  double seconds = 0;
};

/// Why no processes can be started here; empty: they can.
inline std::string launch_obstacle() {
  if (!mpi_is_built_in()) return "built without MPI (package libopenmpi-dev)";
  if (std::system("command -v mpirun >/dev/null 2>&1") != 0) return "there is no mpirun (package openmpi-bin)";
  return "";
}

/// Under a sanitizer the library's own leaks at exit are not ours to report.
inline constexpr const char* kLaunchEnvironment =
    "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 timeout "
    "100";

inline Job run_command(const std::string& command) {
  Job job;
  const Stopwatch watch;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  for (size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) {
    job.output.append(buffer.data(), got);
  }
  const int status = pclose(pipe);
  job.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  job.seconds = watch.seconds();
  return job;
}

/// `what`: "-np 2 PROGRAM WORDS", or several of them with " : " between.
inline Job run_mpirun(const std::string& what) {
  return run_command(fmt::format("{} mpirun -quiet --oversubscribe --bind-to none {}", kLaunchEnvironment, what));
}

inline int occurrences(const std::string& text, const std::string& word) {
  int count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

/// Whether a process of this program still runs 5 s from now: the launcher may be gone a moment before the last process
/// that it ended.
inline bool stays(const std::string& program) {
  const auto runs = [&] {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::error_code ignored;
      if (std::filesystem::read_symlink(entry.path() / "exe", ignored).string() == program) return true;
    }
    return false;
  };
  const Stopwatch watch;
  while (runs()) {
    if (watch.seconds() > 5) return true;
    usleep(50'000);
  }
  return false;
}

}  // namespace conclave
