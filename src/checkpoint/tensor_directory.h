// Which boxes of a tensor lie where, found by all ranks together: every rank reads a share of the indexes and keeps the
// entries of a share of the tensors (by a hash of their names), which others ask it for. So no rank holds more than its
// share and what it asks for, however many ranks wrote the checkpoint.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_tensor.h"
#include "checkpoint/rank_agreement.h"
#include "checkpoint/stored_pieces.h"

namespace conclave {

/// Text to every member from every member, by rank. Collective.
std::vector<std::string> exchange_texts(Communicator& world, const Stream& stream,
                                        const std::vector<std::string>& texts);

class TensorDirectory {
 public:
  /// `pieces`: of the same checkpoint on every rank. Collective, as all member functions are.
  TensorDirectory(const StoredPieces& pieces, Communicator& world, const Stream& stream);

  struct Answer {
    std::map<std::string, TensorRecord> records;  ///< of wanted tensors: the boxes that share elements with them
    std::vector<std::string> misfits;             ///< what does not fit: lines for people
  };
  /// Damage that shows throws UserError on every rank. `widens`: f32 may be stored in another floating dtype.
  Answer look_up(const std::vector<CheckpointTensor>& wanted,
                 const std::function<bool(const std::string& name)>& may_be_left, bool widens = false);

 private:
  struct Kept {
    TensorRecord record;
    bool asked_for = false;
  };
  const StoredPieces& pieces_;
  Communicator& world_;
  Stream stream_;
  RankAgreement agreement_;
  std::map<std::string, Kept> kept_;

  size_t keeper_of(const std::string& name) const;
  void collect();
  void keep(std::vector<IndexedTensor> tensors);
  void check_tiling() const;
  std::string answer(const std::string& request);
  std::vector<std::string> requests(const std::vector<CheckpointTensor>& wanted) const;
};

}  // namespace conclave
