#include "checkpoint/loader.h"

#include <algorithm>
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

void read_converted(StoredPieces& pieces, const TensorRecord& record, const CheckpointTensor& wanted,
                    const LoadArgs& args) {
  constexpr int64_t kAtOnce = int64_t{4} << 20;  // elements
  if (args.stream.device().is_sim()) return;
  pieces.make_available(record, wanted.shard);
  std::vector<std::byte> raw;
  std::vector<float> values;
  int64_t done = 0;
  for (const Box& box : wanted.shard.boxes) {
    for (int64_t at = 0; at < box.element_count(); at += kAtOnce) {
      const int64_t count = std::min(kAtOnce, box.element_count() - at);
      raw.resize(static_cast<size_t>(count * dtype_size(record.info.dtype)));
      values.resize(static_cast<size_t>(count));
      std::span<std::byte> rest(raw);
      for (const Box& part : boxes_of_flat_range(box, at, count)) {
        const auto bytes = static_cast<size_t>(part.element_count() * dtype_size(record.info.dtype));
        pieces.read(record, part, rest.first(bytes));
        rest = rest.subspan(bytes);
      }
      args.convert(record.info.dtype, raw, DType::kF32, std::as_writable_bytes(std::span(values)));
      copy_from_host<float>(args.stream, wanted.tensor.flat_slice(done, count), values);
      done += count;
    }
  }
}

void load(const LoadArgs& args, Communicator& world) {
  RankAgreement agreement(world, args.stream);
  std::unique_ptr<StoredPieces> pieces;
  agreement.fail_together(failure_of([&] { pieces = std::make_unique<StoredPieces>(args.directory, true); }));
  TensorDirectory directory(*pieces, world, args.stream);
  const TensorDirectory::Answer answer = directory.look_up(args.wanted, args.may_be_left, args.convert != nullptr);
  agreement.fail_together(failure_of([&] { check_fit(answer.misfits, args.directory); }));
  agreement.fail_together(failure_of([&] {
    for (const CheckpointTensor& tensor : args.wanted) {
      const TensorRecord& record = answer.records.at(tensor.name);
      if (record.info.dtype == tensor.dtype) {
        pieces->read(record, tensor.shard, args.stream, tensor.tensor);
      } else {
        read_converted(*pieces, record, tensor, args);
      }
    }
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
