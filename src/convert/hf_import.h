// Weights of a Hugging Face directory as our tensors: which file holds which run of which tensor, checked whole before
// anything is read, then read in pieces of any size.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/parse.h"
#include "convert/hf_directory.h"
#include "spec/hugging_face/model.h"
#include "spec/hugging_face/tensor_places.h"
#include "tensor/shard.h"

namespace conclave {

class HuggingFaceWeights {
 public:
  /// Throws UserError with everything that does not fit: tensors without a place, places without a tensor, wrong
  /// shapes, keys of config.json that are not understood.
  explicit HuggingFaceWeights(const std::string& directory);

  const HuggingFaceDirectory& directory() const { return directory_; }
  /// Option -> value: what config.json says about the model.
  const Json& options() const { return model_.options; }
  const Family& family() const { return *model_.family; }
  const ModelSpec& spec() const { return spec_; }
  ExpertForm form() const { return form_; }
  const std::vector<TensorPlace>& places() const { return places_; }
  const std::vector<OwnTensor>& tensors() const { return tensors_; }
  /// The dtype that keeps every bit of one of our tensors: that of its parts, f32 where they differ. FP8: what it is
  /// dequantised to.
  DType stored_dtype(const std::string& ours) const;
  /// "model.norm.weight" -> "f32" for each of their tensors whose dtype is not stored_dtype() of ours.
  std::map<std::string, std::string> other_dtypes() const;

  /// Elements [begin, ...) of one of our tensors in its global row-major order.
  void read(const std::string& ours, int64_t begin, DType dtype, std::span<std::byte> out) const;
  /// The wanted boxes, one after the other.
  void read(const std::string& ours, const ShardSpec& wanted, DType dtype, std::span<std::byte> out) const;

 private:
  struct Piece {
    int64_t ours = 0, theirs = 0, count = 0;
    const StoredWeight* weight = nullptr;
  };
  HuggingFaceDirectory directory_;
  HuggingFaceModel model_;
  ModelSpec spec_;
  ExpertForm form_ = ExpertForm::kSeparate;
  std::vector<TensorPlace> places_;
  std::vector<OwnTensor> tensors_;
  std::map<std::string, std::vector<Piece>> pieces_;  ///< sorted by `ours`

  void drop_absent_predictions();
  void check_fit() const;
  void check_repeated(const TensorPlace& place) const;
  void make_pieces();
};

/// Sizes needed for a ModelSpec that the model itself does not fix.
Options options_of_model(const Json& options);

}  // namespace conclave
