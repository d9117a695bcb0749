#include "checkpoint/writer.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <future>
#include <new>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "checkpoint/part_writer.h"
#include "checkpoint/rank_agreement.h"

namespace conclave {
namespace {

// A copy of the tensors in host memory, so that training may go on changing them.
struct Snapshot {
  std::unique_ptr<std::byte[]> memory;
  std::vector<CheckpointTensor> tensors;
};

Snapshot take_snapshot(const std::vector<CheckpointTensor>& tensors) {
  int64_t total = 0;
  for (const CheckpointTensor& tensor : tensors) total += tensor.bytes();
  Snapshot snapshot;
  try {
    snapshot.memory = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(total));
  } catch (const std::bad_alloc&) {
    throw_user(fmt::format("no host memory for a snapshot of {} bytes; save without --async-save", total));
  }
  std::byte* place = snapshot.memory.get();
  for (const CheckpointTensor& tensor : tensors) {
    const std::span<std::byte> bytes(place, static_cast<size_t>(tensor.bytes()));
    tensor.copy_bytes(0, bytes);
    snapshot.tensors.push_back(CheckpointTensor::from_bytes(tensor.name, tensor.dtype, tensor.shard, bytes));
    place += bytes.size();
  }
  return snapshot;
}

// Training has the processor first; a save that takes a little longer harms nobody.
void lower_thread_priority() { ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 10); }

template <typename T>
bool is_ready(const std::future<T>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

// A save under way. Two stages, each awaited by all ranks together: parts are written; rank 0 makes the checkpoint
// appear.
struct Flight {
  enum class Stage { kParts, kCommit };
  int64_t iteration = 0;
  Stage stage = Stage::kParts;
  Stopwatch since;
  double stall_seconds = 0;
  Json state;
  int64_t tensor_bytes = 0;
  double write_seconds = 0;                     // rank 0
  std::unique_ptr<PartialDirectory> directory;  // rank 0
  // Last, so that they are waited for before what their threads use goes.
  std::future<RankPart> part;
  std::future<void> commit;  // rank 0
};

}  // namespace

class CheckpointWriter::Implementation {
 public:
  Implementation(CheckpointWriterSettings settings, Communicator& world, const Stream& stream)
      : settings_(std::move(settings)), agreement_(world, stream) {
    owner_ = agreement_.share_of_first(::getpid());
    agreement_.fail_together(failure_of([&] {
      if (!is_first()) return;
      make_directories(settings_.run_directory);
      if (const int64_t count = clean_run_directory(settings_.run_directory); count > 0)
        log_info("removed {} unfinished entries of earlier processes from '{}'", count, settings_.run_directory);
      PartialDirectory probe(settings_.run_directory, 0);
      OutputFile file(probe.path() + "/probe");
      file.write("x");
      file.close();
    }));
  }

  ~Implementation() {
    if (flight_ == nullptr) return;
    const std::string failure = agreement_.is_alone() ? failure_of([&] { advance(Wait::kYes); })
                                                      : "the run ended before all ranks had finished it";
    if (flight_ != nullptr && flight_->part.valid()) flight_->part.wait();
    if (!failure.empty()) log_warning("{}", failure);
  }

  double save(int64_t iteration, const std::vector<CheckpointTensor>& tensors, const Json& state) {
    const Stopwatch stall;
    advance(Wait::kYes);
    flight_ = std::make_unique<Flight>();
    flight_->iteration = iteration;
    // An independent copy: the thread must not share the value's storage with the caller.
    flight_->state = Json::parse(state.dump(), "state of a checkpoint");
    together([&] {
      if (is_first()) flight_->directory = std::make_unique<PartialDirectory>(settings_.run_directory, iteration);
    });
    const std::string path = PartialDirectory::path_for(settings_.run_directory, iteration, owner_);
    together([&] { begin_part(path, tensors); });
    if (settings_.mode == SaveMode::kNow) advance(Wait::kYes);
    const double seconds = stall.seconds();
    if (flight_ != nullptr) flight_->stall_seconds = seconds;
    if (settings_.mode == SaveMode::kNow) reports_.back().stall_seconds = seconds;
    return seconds;
  }

  std::vector<SaveReport> poll() {
    advance(Wait::kNo);
    return std::exchange(reports_, {});
  }

  std::vector<SaveReport> finish() {
    advance(Wait::kYes);
    return std::exchange(reports_, {});
  }

  bool in_flight() const { return flight_ != nullptr; }

 private:
  enum class Wait { kNo, kYes };
  CheckpointWriterSettings settings_;
  RankAgreement agreement_;
  int64_t owner_ = 0;
  std::unique_ptr<Flight> flight_;
  std::vector<SaveReport> reports_;

  bool is_first() const { return agreement_.rank() == 0; }

  // Runs `step` on every rank; if it fails on one, all give the save up with the first cause.
  template <typename Step>
  void together(const Step& step) {
    const std::string failure = failure_of(step);
    try {
      agreement_.fail_together(failure);
    } catch (const UserError& error) {
      give_up(error.what());
    }
  }

  [[noreturn]] void give_up(const std::string& cause) {
    const int64_t iteration = flight_->iteration;
    if (flight_->part.valid()) flight_->part.wait();
    agreement_.all(true);  // nobody writes into the directory any more
    flight_.reset();
    const std::vector<int64_t> present = list_checkpoints(settings_.run_directory);
    const std::string kept =
        present.empty() ? "there is no earlier checkpoint"
                        : fmt::format("the last complete one, {}, is untouched", checkpoint_name(present.back()));
    throw_user(fmt::format("[checkpoint/save] {} was not written to '{}': {}; {}", checkpoint_name(iteration),
                           settings_.run_directory, cause, kept));
  }

  void begin_part(const std::string& path, const std::vector<CheckpointTensor>& tensors) {
    const int64_t rank = agreement_.rank(), file_bytes = settings_.file_bytes;
    if (settings_.mode == SaveMode::kNow) {
      std::promise<RankPart> done;
      done.set_value(write_rank_part(path, rank, tensors, file_bytes));
      flight_->part = done.get_future();
      return;
    }
    auto snapshot = std::make_shared<Snapshot>(take_snapshot(tensors));
    // Alone there is nobody to wait for: the thread makes the checkpoint appear as soon as it is written.
    Flight* flight = agreement_.is_alone() ? flight_.get() : nullptr;
    flight_->part = std::async(std::launch::async, [this, path, rank, file_bytes, flight, snapshot]() mutable {
      lower_thread_priority();
      const RankPart part = write_rank_part(path, rank, snapshot->tensors, file_bytes);
      snapshot.reset();
      if (flight != nullptr) commit(*flight, {part.entry}, part.tensor_bytes);
      return part;
    });
  }

  // Rank 0, from any thread.
  void commit(Flight& flight, std::vector<RankEntry> ranks, int64_t tensor_bytes) const {
    flight.directory->commit(
        {flight.iteration, tensor_bytes, unix_seconds(), std::move(ranks), std::move(flight.state)},
        settings_.retention);
    flight.write_seconds = flight.since.seconds();
  }

  // Takes the save under way as far as it goes (to its end with kYes).
  void advance(Wait wait) {
    if (flight_ == nullptr) return;
    if (flight_->stage == Flight::Stage::kParts) {
      if (wait == Wait::kNo && !agreement_.all(is_ready(flight_->part))) return;
      finish_parts();
    }
    if (wait == Wait::kNo && !agreement_.all(!flight_->commit.valid() || is_ready(flight_->commit))) return;
    together([&] {
      if (flight_->commit.valid()) flight_->commit.get();
    });
    reports_.push_back({flight_->iteration, settings_.run_directory + "/" + checkpoint_name(flight_->iteration),
                        flight_->tensor_bytes, flight_->stall_seconds,
                        is_first() ? flight_->write_seconds : flight_->since.seconds()});
    flight_.reset();
  }

  void finish_parts() {
    RankPart part;
    together([&] { part = flight_->part.get(); });
    const std::vector<RankPart> parts = gather(part);
    std::vector<RankEntry> ranks;
    for (const RankPart& each : parts) {
      ranks.push_back(each.entry);
      flight_->tensor_bytes += each.tensor_bytes;
    }
    flight_->stage = Flight::Stage::kCommit;
    if (!is_first() || (agreement_.is_alone() && settings_.mode == SaveMode::kBackground)) return;
    const auto launch = settings_.mode == SaveMode::kNow ? std::launch::deferred : std::launch::async;
    flight_->commit = std::async(
        launch, [this, flight = flight_.get(), ranks] { return commit(*flight, ranks, flight->tensor_bytes); });
  }

  std::vector<RankPart> gather(const RankPart& part) {
    const std::vector<int64_t> all =
        agreement_.gather({part.entry.bytes, static_cast<int64_t>(part.entry.checksum), part.tensor_bytes});
    std::vector<RankPart> parts;
    for (size_t i = 0; i < all.size(); i += 3) {
      const auto rank = static_cast<int64_t>(i / 3);
      parts.push_back({{rank_index_name(rank), all[i], static_cast<uint64_t>(all[i + 1])}, all[i + 2]});
    }
    return parts;
  }
};

CheckpointWriter::CheckpointWriter(CheckpointWriterSettings settings, Communicator& world, const Stream& stream)
    : implementation_(std::make_unique<Implementation>(std::move(settings), world, stream)) {}
CheckpointWriter::~CheckpointWriter() = default;
double CheckpointWriter::save(int64_t iteration, const std::vector<CheckpointTensor>& tensors, const Json& state) {
  return implementation_->save(iteration, tensors, state);
}
std::vector<SaveReport> CheckpointWriter::poll() { return implementation_->poll(); }
std::vector<SaveReport> CheckpointWriter::finish() { return implementation_->finish(); }
bool CheckpointWriter::in_flight() const { return implementation_->in_flight(); }

}  // namespace conclave
