// Products that pack their factors themselves, for machines where this is faster than oneDNN: bf16 by pairs of K
// (pair_vector.h), and f32, whose words hold one number each. Same shapes, operands
// and results as a MatmulSpec describes. Each element of C is one chain of sums in order of K, cut at fixed places, so
// its bits depend neither on the number of threads nor on the blocks that C is cut into.
#pragma once

#include "kernels/cpu/matmul.h"

namespace conclave::kernels::cpu {

/// Whether this file makes the product. Few rows are oneDNN's: the other factor would be copied for too little.
bool packs_itself(const MatmulSpec& spec);

/// A rectangle of C that one thread makes.
struct PackedBlock {
  int64_t row = 0, rows = 0;
  int64_t column = 0, columns = 0;
};

inline constexpr int64_t kPanelColumns =
    64;  ///< columns of C whose factor is packed together: blocks start at multiples
inline constexpr int64_t kMostBlockRows = 512;  ///< rows of a block, at most

/// How C is cut into blocks of at most so many rows and columns.
struct PackedGrid {
  int64_t rows = 0, columns = 0;
};

/// `blocks` are wanted of a product with spec.m rows (0: unknown).
PackedGrid packed_grid(const MatmulSpec& spec, int64_t blocks);

/// Scratch of one thread for blocks of this grid, over up to spec.k terms.
int64_t packed_thread_bytes(const MatmulSpec& spec, const PackedGrid& grid);

/// Makes one block; `operands.scratch` is the thread's own. spec.k may be zero only with nothing to do.
void run_packed_block(const MatmulSpec& spec, const MatmulOperands& operands, const PackedBlock& block);

/// The right factor packed once for many products with the same spec but for m (MatmulOperands::packed_b), on
/// spec.threads threads; 0 bytes where this is no use.
int64_t packed_right_bytes(const MatmulSpec& spec);
void pack_right(const MatmulSpec& spec, const void* b, void* packed);

/// The whole product on spec.threads threads; scratch of all of them.
int64_t packed_scratch_bytes(const MatmulSpec& spec);
void run_packed(const MatmulSpec& spec, const MatmulOperands& operands);

}  // namespace conclave::kernels::cpu
