#include "checkpoint/reader.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/box_overlap.h"
#include "checkpoint/directory.h"
#include "checkpoint/stored_pieces.h"

namespace conclave {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) { return box_text(ShardSpec::whole(shape).boxes[0]); }

}  // namespace

int64_t StoredTensor::element_count() const { return ShardSpec::whole(shape).element_count(); }

class CheckpointReader::Implementation {
 public:
  Implementation(const std::string& directory, const CheckpointReaderSettings& settings)
      : settings_(settings), pieces_(directory, settings.verify_checksums) {}

  const StoredPieces& pieces() const { return pieces_; }

  const std::vector<StoredTensor>& tensors() {
    pieces_.load_all();
    if (list_.size() != pieces_.records().size()) {
      list_.clear();
      for (const auto& [name, record] : pieces_.records()) list_.push_back(record.info);
    }
    return list_;
  }

  const StoredTensor* find(const std::string& name) {
    const TensorRecord* record = pieces_.find(name, settings_.first_rank);
    return record == nullptr ? nullptr : &record->info;
  }

  const StoredTensor& at(const std::string& name) { return record(name).info; }

  void read(const std::string& name, const ShardSpec& wanted, std::span<std::byte> destination) {
    const TensorRecord& stored = checked(name, wanted);
    const int64_t width = dtype_size(stored.info.dtype);
    CONCLAVE_CHECK_EQ(static_cast<int64_t>(destination.size()), wanted.element_count() * width,
                      "bytes to read tensor '{}' into", name);
    for (const Box& box : wanted.boxes) {
      const auto bytes = static_cast<size_t>(box.element_count() * width);
      pieces_.read(stored, box, destination.first(bytes));
      destination = destination.subspan(bytes);
    }
  }

  void read(const std::string& name, const ShardSpec& wanted, const Stream& stream, const Tensor& destination) {
    const TensorRecord& stored = checked(name, wanted);
    CONCLAVE_USER_CHECK(destination.dtype() == stored.info.dtype,
                        "[checkpoint/load] tensor '{}' is stored in '{}' as {}, here it is {}; use the same precision "
                        "options as the run that saved it",
                        name, pieces_.directory(), dtype_name(stored.info.dtype), dtype_name(destination.dtype()));
    pieces_.read(stored, wanted, stream, destination);
  }

  std::vector<CheckpointFault> verify() { return pieces_.verify(); }

 private:
  CheckpointReaderSettings settings_;
  StoredPieces pieces_;
  std::vector<StoredTensor> list_;

  const TensorRecord& record(const std::string& name) {
    const TensorRecord* found = pieces_.find(name, settings_.first_rank);
    CONCLAVE_USER_CHECK(
        found != nullptr,
        "[checkpoint/load] tensor '{}' is not in '{}', which has {} tensors; was it saved by a model of "
        "other options? (conclave inspect lists what is in it)",
        name, pieces_.directory(), tensors().size());
    return *found;
  }

  // The record of `name`, with all indexes read that are needed for `wanted`.
  const TensorRecord& checked(const std::string& name, const ShardSpec& wanted) {
    const TensorRecord& stored = record(name);
    CONCLAVE_USER_CHECK(
        wanted.global_shape == stored.info.shape,
        "[checkpoint/load] tensor '{}' has shape {} in '{}', here it has {}; use the options of the run "
        "that saved it (--use-checkpoint-args takes them over)",
        name, shape_text(stored.info.shape), pieces_.directory(), shape_text(wanted.global_shape));
    for (const Box& box : wanted.boxes)
      CONCLAVE_CHECK(box_fits(box, wanted.global_shape), "box {} of '{}' lies outside its shape", box_text(box), name);
    pieces_.make_available(stored, wanted);
    return stored;
  }
};

CheckpointReader::CheckpointReader(const std::string& checkpoint_directory, const CheckpointReaderSettings& settings)
    : implementation_(std::make_unique<Implementation>(checkpoint_directory, settings)) {}
CheckpointReader::~CheckpointReader() = default;
const std::string& CheckpointReader::directory() const { return implementation_->pieces().directory(); }
int64_t CheckpointReader::iteration() const { return implementation_->pieces().manifest().iteration; }
int64_t CheckpointReader::world_size() const {
  return static_cast<int64_t>(implementation_->pieces().manifest().ranks.size());
}
const Json& CheckpointReader::state() const { return implementation_->pieces().manifest().state; }
double CheckpointReader::time() const { return implementation_->pieces().manifest().time; }
int64_t CheckpointReader::tensor_bytes() const { return implementation_->pieces().manifest().tensor_bytes; }
const std::vector<StoredTensor>& CheckpointReader::tensors() const { return implementation_->tensors(); }
const StoredTensor* CheckpointReader::find(const std::string& name) const { return implementation_->find(name); }
const StoredTensor& CheckpointReader::at(const std::string& name) const { return implementation_->at(name); }
void CheckpointReader::read(const std::string& name, const ShardSpec& wanted, std::span<std::byte> destination) const {
  implementation_->read(name, wanted, destination);
}
void CheckpointReader::read(const std::string& name, const ShardSpec& wanted, const Stream& stream,
                            const Tensor& destination) const {
  implementation_->read(name, wanted, stream, destination);
}
void CheckpointReader::read_whole(const std::string& name, const Stream& stream, const Tensor& destination) const {
  implementation_->read(name, ShardSpec::whole(destination.shape().to_vector()), stream, destination);
}
std::vector<CheckpointFault> CheckpointReader::verify() const { return implementation_->verify(); }

std::vector<CheckpointFault> verify_checkpoint(const std::string& checkpoint_directory) {
  try {
    return CheckpointReader(checkpoint_directory).verify();
  } catch (const UserError& error) {
    return {{checkpoint_directory + "/" + kManifestFile, "", error.what()}};
  }
}

}  // namespace conclave
