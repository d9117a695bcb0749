#include "optim/zero1/zero1_store.h"

namespace conclave {
namespace {

// Elements of each rank's piece.
std::vector<int64_t> piece_lengths(const Bucket& bucket) {
  std::vector<int64_t> lengths;
  for (size_t rank = 0; rank + 1 < bucket.cuts.size(); ++rank)
    lengths.push_back(bucket.cuts[rank + 1] - bucket.cuts[rank]);
  return lengths;
}

}  // namespace

void Zero1Store::reduce(const FlatGrid& grid, const Bucket& bucket, const Stream& stream, const Tensor& gradients) {
  const FlatRange own = grid.owned_piece(bucket);
  const Tensor piece = gradients.flat_slice(own.begin - bucket.begin, own.length());
  if (grid.inside().size() > 1)
    grid.inside().reduce_scatter(stream, gradients, piece_lengths(bucket), piece, "gradients");
  if (grid.across().size() > 1) grid.across().all_reduce(stream, piece, ReduceOp::kSum, "gradients over instances");
}

void Zero1Store::gather(const FlatGrid& grid, const Bucket& bucket, const Stream& stream) {
  const FlatRange own = grid.owned_piece(bucket);
  grid.inside().all_gather(stream, grid.compute.flat_slice(own.begin, own.length()), piece_lengths(bucket),
                           grid.compute.flat_slice(bucket.begin, bucket.length()), "weights");
}

}  // namespace conclave
