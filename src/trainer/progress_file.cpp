#include "trainer/progress_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "trainer/iteration_line.h"

namespace conclave {
namespace {

constexpr std::string_view kSeconds = "Seconds of this start: ";

}  // namespace

ProgressFile::ProgressFile(const std::string& path, std::string run_id, int64_t ranks, const RunProgress& start)
    : run_id_(std::move(run_id)), ranks_(ranks), start_(start) {
  if (file_exists(path)) read_earlier(path);
  file_ = std::make_unique<OutputFile>(path, OutputFile::Mode::kAppend);
  append(fmt::format("Starting job\tIteration: {}", start.iteration));
}

// Sums the last "seconds" of each start of this run; a line that is none is passed over: people may write here too.
void ProgressFile::read_earlier(const std::string& path) {
  double of_start = 0;
  for (const std::string& line : split(read_file(path), '\n')) {
    const std::vector<std::string> fields = split(line, '\t');
    if (fields.size() < 4 || fields[1] != "Run: " + run_id_) continue;
    if (fields[3] == "Starting job") {
      earlier_seconds_ += std::exchange(of_start, 0);
    } else if (fields[3] == "Saved checkpoint" && fields.back().starts_with(kSeconds)) {
      of_start = parse_double(fields.back().substr(kSeconds.size())).value_or(of_start);
    }
  }
  earlier_seconds_ += of_start;
}

void ProgressFile::saved(const RunProgress& now) {
  const double seconds = std::max(watch_.seconds(), 1e-9), scale = 1e12 * static_cast<double>(ranks_);
  append(
      fmt::format("Saved checkpoint\tIteration: {}\tJob throughput: {:.3f} TFLOP/s/rank\tCumulative throughput: {:.3f} "
                  "TFLOP/s/rank\tFloating-point operations: {:.3e}\tTokens (in billions): {:.6f}\t{}{:.3f}",
                  now.iteration, (now.flops - start_.flops) / (seconds * scale),
                  now.flops / ((earlier_seconds_ + seconds) * scale), now.flops, now.tokens / 1e9, kSeconds, seconds));
}

void ProgressFile::append(const std::string& fields) {
  file_->write(fmt::format("{}\tRun: {}\tRanks: {}\t{}\n", local_timestamp(unix_seconds()), run_id_, ranks_, fields));
}

}  // namespace conclave
