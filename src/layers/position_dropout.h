// Dropout whose choices depend on where in its sequence a position stands, not on which rank holds it.
#pragma once

#include <string_view>

#include "nn/context.h"

namespace conclave {

/// out [S,B,H] = residual + dropout(x) for this rank's positions outside tensor-parallel regions; a plain sum unless
/// the context trains and rate > 0. residual optional; out may alias x or residual. `op` names the random stream. The
/// gradient of x is the same of dy without residual.
void position_dropout_add(const Context& context, const Tensor& x, const Tensor& residual, const Tensor& out,
                          double rate, std::string_view op);

}  // namespace conclave
