// Keys and values of earlier positions, kept while text is generated.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace conclave {

/// One layer's part: k [B,g,capacity,D], v [B,g,capacity,Dv]; the first `length` positions are filled.
struct LayerKvCache {
  Tensor k, v;
};

/// All layers grow together: a forward of S tokens appends S positions to each, then the driver calls advance(S).
class KvCache {
 public:
  KvCache(int64_t layers, int64_t capacity) : layers_(static_cast<size_t>(layers)), capacity_(capacity) {}
  LayerKvCache& layer(int64_t index) { return layers_.at(static_cast<size_t>(index)); }
  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }
  void advance(int64_t tokens) { length_ += tokens; }

 private:
  std::vector<LayerKvCache> layers_;
  int64_t capacity_;
  int64_t length_ = 0;
};

}  // namespace conclave
