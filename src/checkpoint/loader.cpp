#include "checkpoint/loader.h"

#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/tensor_directory.h"

namespace conclave {
namespace {

constexpr size_t kMostLines = 12;

void check_fit(std::vector<std::string> misfits, const std::string& directory) {
  if (misfits.size() > kMostLines) {
    const size_t more = misfits.size() - kMostLines;
    misfits.resize(kMostLines);
    misfits.push_back(fmt::format("and {} more", more));
  }
  CONCLAVE_USER_CHECK(misfits.empty(),
                      "checkpoint '{}' does not fit the model:\n  {}\ngive the options it was trained with "
                      "(--use-checkpoint-args takes them from it), or "
                      "--no-load-optim if optimizer states are missing",
                      directory, join(misfits, "\n  "));
}

void load(const LoadArgs& args, Communicator& world) {
  RankAgreement agreement(world, args.stream);
  std::unique_ptr<StoredPieces> pieces;
  agreement.fail_together(failure_of([&] { pieces = std::make_unique<StoredPieces>(args.directory, true); }));
  TensorDirectory directory(*pieces, world, args.stream);
  const TensorDirectory::Answer answer = directory.look_up(args.wanted, args.may_be_left);
  agreement.fail_together(failure_of([&] { check_fit(answer.misfits, args.directory); }));
  agreement.fail_together(failure_of([&] {
    for (const CheckpointTensor& tensor : args.wanted)
      pieces->read(answer.records.at(tensor.name), tensor.shard, args.stream, tensor.tensor);
  }));
}

}  // namespace

void load_checkpoint(const LoadArgs& args) {
  if (args.stream.device().is_sim() && args.world.size() > 1) {
    // Nobody answers: what others want is not known.
    LoadArgs alone = args;
    alone.may_be_left = [](const std::string&) { return true; };
    load(alone, *make_self_communicator("world"));
  } else {
    load(args, args.world);
  }
}

}  // namespace conclave
