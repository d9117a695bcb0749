// Kinds of golden data cases. Each function throws Mismatch if the case does not hold, NotBuilt if it needs something
// that is not there.
#pragma once

<<<<<<< HEAD
=======
#include <fmt/core.h>

>>>>>>> e4ae8a0 (Golden cases of the router through the module and its kernels)
#include <string>

<<<<<<< HEAD
#include "proof/golden/case_files.h"

namespace conclave::proof {

=======
#include "base/json.h"
#include "proof/golden/outcome.h"

namespace conclave::proof {

template <typename T>
void expect_equal(const std::string& what, const T& got, const T& wanted) {
  if (!(got == wanted)) throw Mismatch(fmt::format("{} is {}, must be {}", what, got, wanted));
}

/// Same length and entries, the first that is off is named.
template <typename T>
void expect_same(const std::string& what, const std::vector<T>& got, const std::vector<T>& wanted) {
  for (size_t i = 0; i < got.size() && i < wanted.size(); ++i) {
    expect_equal(fmt::format("{}[{}]", what, i), got[i], wanted[i]);
  }
  expect_equal(what + " length", got.size(), wanted.size());
}

std::vector<int64_t> ints(const Json& array);
std::vector<double> doubles(const Json& array);
std::vector<std::string> strings(const Json& array);

>>>>>>> e4ae8a0 (Golden cases of the router through the module and its kernels)
// `folder` holds the files that prefixes name.
void check_indexed_dataset(const Json& golden, const std::string& folder);
void check_gpt_dataset(const Json& golden, const std::string& folder);
void check_blended_dataset(const Json& golden, const std::string& folder);
void check_mock_dataset(const Json& golden, const std::string& folder);
void check_blending_indices(const Json& golden, const std::string& folder);
void check_requested_sizes(const Json& golden, const std::string& folder);
void check_split(const Json& golden, const std::string& folder);
void check_data_path(const Json& golden, const std::string& folder);
void check_sampler(const Json& golden, const std::string& folder);

}  // namespace conclave::proof
