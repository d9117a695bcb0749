// Folders whose cases are entries of `cases` lists in JSON files: reading them, running them, counting them.
#pragma once

#include <fmt/core.h>

#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/json.h"
#include "proof/golden/golden.h"

namespace conclave::proof {

/// The product's answer is not the golden one.
struct Mismatch : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The case needs something that is not there; the text names it.
struct NotBuilt : std::runtime_error {
  using std::runtime_error::runtime_error;
};

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

/// |got - wanted| <= relative * |wanted| + absolute; a NaN never passes.
void expect_near(const std::string& what, double got, double wanted, double relative, double absolute = 0);

std::vector<int64_t> ints(const Json& array);
std::vector<double> doubles(const Json& array);
std::vector<std::string> strings(const Json& array);
/// The value under `key`, or `otherwise` if it is absent or null.
int64_t int_or(const Json& golden, std::string_view key, int64_t otherwise);
bool flag_or(const Json& golden, std::string_view key, bool otherwise);

/// `"error": true`: the case must be refused.
bool must_be_refused(const Json& golden);

/// Puts one case through the product: throws Mismatch or NotBuilt, and UserError where the product refuses it, which is
/// right exactly if must_be_refused(). `folder` holds files that a case names.
using CaseFunction = std::function<void(const Json& golden, const std::string& folder)>;

enum class Reports { kWholeFolder, kAlsoByFile };

/// Runs every case of every *.json of `folder` by its file's `kind`; files without `kind` and `cases` are left alone.
std::vector<GoldenReport> run_case_files(const std::string& folder, const std::string& label,
                                         const std::map<std::string, CaseFunction>& kinds, Reports reports);

}  // namespace conclave::proof
