#include "layers/position_dropout.h"

#include "kernels/dropout.h"

namespace conclave {

void position_dropout_add(const Context& context, const Tensor& x, const Tensor& residual, const Tensor& out,
                          double rate, std::string_view op) {
  if (!context.training || rate == 0) {
    kernels::dropout_add(context.stream, {.x = x, .residual = residual, .out = out, .streams = {}});
    return;
  }
  const std::vector<RandomStream> streams = context.random_streams(op);
  for (const SequencePiece& piece : context.pieces_outside()) {
    const auto rows = [&](const Tensor& tensor) {
      return tensor.defined() ? tensor.slice(piece.begin, piece.begin + piece.size) : tensor;
    };
    kernels::dropout_add(context.stream, {.x = rows(x),
                                          .residual = rows(residual),
                                          .out = rows(out),
                                          .rate = static_cast<float>(rate),
                                          .streams = streams,
                                          .sequence_offset = piece.position});
  }
}

}  // namespace conclave
