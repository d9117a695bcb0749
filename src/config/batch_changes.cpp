#include "config/batch_changes.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace conclave {
namespace {

constexpr std::string_view kChanges = "--step-batch-size-schedule";

int64_t number_of(std::string_view text, std::string_view piece) {
  std::string upper(trim(text));
  if (!upper.empty()) upper.back() = static_cast<char>(std::toupper(static_cast<unsigned char>(upper.back())));
  const auto number = parse_count(upper);
  CONCLAVE_USER_CHECK(number && *number >= 0,
                      "{} is made of THRESHOLD:SIZE pieces with whole numbers; got '{}'; write \"0:768 250B:1536\"",
                      kChanges, piece);
  return *number;
}

}  // namespace

std::vector<BatchChange> parse_batch_changes(std::string_view text, int64_t seq_length) {
  std::vector<BatchChange> changes;
  for (const std::string& piece : split_words(replace_all(text, ",", " "))) {
    const std::vector<std::string> parts = split(piece, ':');
    CONCLAVE_USER_CHECK(parts.size() == 2, "{} is made of THRESHOLD:SIZE pieces; got '{}'; write \"0:768 250B:1536\"",
                        kChanges, piece);
    const int64_t threshold = number_of(parts[0], piece);
    changes.push_back({seq_length > 0 ? threshold / seq_length : threshold, number_of(parts[1], piece)});
    CONCLAVE_USER_CHECK(changes.back().batch > 0, "{}: a batch must be above 0; got '{}'; raise it", kChanges, piece);
  }
  std::stable_sort(changes.begin(), changes.end(),
                   [](const BatchChange& a, const BatchChange& b) { return a.first_sample < b.first_sample; });
  CONCLAVE_USER_CHECK(!changes.empty() && changes[0].first_sample == 0,
                      "{}: the first threshold must be 0; got '{}'; begin with 0:SIZE", kChanges, text);
  for (size_t i = 1; i < changes.size(); ++i) {
    CONCLAVE_USER_CHECK(changes[i].first_sample > changes[i - 1].first_sample,
                        "{}: thresholds must differ by at least one sample ({} tokens); got '{}'; move them apart",
                        kChanges, std::max<int64_t>(seq_length, 1), text);
  }
  return changes;
}

}  // namespace conclave
