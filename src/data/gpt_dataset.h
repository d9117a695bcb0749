// Samples of one data set in the order of one or more GptIndex, one after the other.
#pragma once

#include <memory>
#include <vector>

#include "data/gpt_index.h"
#include "data/sample.h"
#include "data/token_source.h"

namespace conclave {

class GptDataset : public SampleDataset {
 public:
  GptDataset(std::shared_ptr<const TokenSource> source, std::vector<GptIndex> indices);
  int64_t size() const override { return size_; }
  void fetch(int64_t index, TokenSample& out) const override;

  const TokenSource& source() const { return *source_; }
  const std::vector<GptIndex>& indices() const { return indices_; }

 private:
  std::shared_ptr<const TokenSource> source_;
  std::vector<GptIndex> indices_;
  int64_t size_ = 0;
};

}  // namespace conclave
