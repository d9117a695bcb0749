#include "moe/routing_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "moe/routing_trace.h"

namespace conclave {
namespace {

/// The same for every rank, router and step.
class EvenRouting final : public DeclaredRouting {
 public:
  explicit EvenRouting(const RoutingSizes& sizes) : sizes_(sizes) {}

  int64_t rows(int64_t, int64_t expert) const override {
    const int64_t choices = sizes_.tokens * sizes_.topk;
    const int64_t share = choices / sizes_.experts + (expert < choices % sizes_.experts ? 1 : 0);
    return sizes_.most_rows >= 0 ? std::min(share, sizes_.most_rows) : share;
  }

  int64_t tokens(int64_t, int64_t begin, int64_t end, const std::vector<uint8_t>& there) const override {
    const auto experts = static_cast<double>(sizes_.experts);
    const auto held = static_cast<double>(std::count_if(there.begin(), there.end(), [](uint8_t e) { return e != 0; }));
    double none = 1;  // chance that K different experts are all elsewhere
    for (int64_t k = 0; k < sizes_.topk; ++k) {
      const auto taken = static_cast<double>(k);
      none *= std::max(0.0, experts - held - taken) / std::max(1.0, experts - taken);
    }
    return std::llround(static_cast<double>(end - begin) * (1 - none));
  }

 private:
  RoutingSizes sizes_;
};

/// Shares of T*K choices in proportion to weights, none above T: what is cut off goes to the others.
std::vector<int64_t> zipf_rows(const RoutingSizes& sizes, double exponent) {
  const auto experts = static_cast<size_t>(sizes.experts);
  const auto most = static_cast<double>(sizes.tokens);
  std::vector<double> share(experts, 0);
  std::vector<double> weight(experts);
  for (size_t e = 0; e < experts; ++e) weight[e] = std::pow(static_cast<double>(e + 1), -exponent);
  double left = most * static_cast<double>(sizes.topk);
  // Weights fall, so the experts that are full are the first ones.
  for (size_t full = 0; full < experts; ++full) {
    const double sum = std::accumulate(weight.begin() + static_cast<int64_t>(full), weight.end(), 0.0);
    const bool fits = sum > 0 && left * weight[full] / sum <= most;
    for (size_t e = full; fits && e < experts; ++e) share[e] = left * weight[e] / sum;
    if (fits) break;
    share[full] = std::min(most, left);
    left -= share[full];
  }
  std::vector<int64_t> rows(experts);
  std::vector<size_t> order(experts);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t e = 0; e < experts; ++e) rows[e] = static_cast<int64_t>(share[e]);
  const auto rest = [&](size_t e) { return share[e] - static_cast<double>(rows[e]); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rest(a) > rest(b); });
  int64_t missing = sizes.tokens * sizes.topk - std::accumulate(rows.begin(), rows.end(), int64_t{0});
  for (size_t i = 0; missing > 0; i = (i + 1) % experts) {
    if (rows[order[i]] >= sizes.tokens) continue;
    ++rows[order[i]];
    --missing;
  }
  return rows;
}

class ZipfRouting final : public DeclaredRouting {
 public:
  ZipfRouting(const RoutingSizes& sizes, double exponent) : sizes_(sizes), rows_(zipf_rows(sizes, exponent)) {
    if (sizes.most_rows < 0) return;
    for (int64_t& rows : rows_) rows = std::min(rows, sizes.most_rows);
  }

  int64_t rows(int64_t, int64_t expert) const override { return rows_[static_cast<size_t>(expert)]; }

  // As if the experts of a token were drawn apart.
  int64_t tokens(int64_t, int64_t begin, int64_t end, const std::vector<uint8_t>& there) const override {
    double none = 1;
    for (size_t e = 0; e < there.size(); ++e) {
      if (there[e] != 0)
        none *= 1 - static_cast<double>(rows_[e]) / static_cast<double>(std::max<int64_t>(sizes_.tokens, 1));
    }
    return std::llround(static_cast<double>(end - begin) * (1 - none));
  }

 private:
  RoutingSizes sizes_;
  std::vector<int64_t> rows_;  ///< [E]
};

class BalancedLoad final : public RoutingLoad {
 public:
  std::shared_ptr<const DeclaredRouting> declare(const RoutingMoment&, const RoutingSizes& sizes) const override {
    return balanced_routing(sizes);
  }
};

class ZipfLoad final : public RoutingLoad {
 public:
  explicit ZipfLoad(double exponent) : exponent_(exponent) {}
  std::shared_ptr<const DeclaredRouting> declare(const RoutingMoment&, const RoutingSizes& sizes) const override {
    return std::make_shared<ZipfRouting>(sizes, exponent_);
  }

 private:
  double exponent_;
};

}  // namespace

std::shared_ptr<const DeclaredRouting> balanced_routing(const RoutingSizes& sizes) {
  return std::make_shared<EvenRouting>(sizes);
}

std::unique_ptr<const RoutingLoad> make_routing_load(const std::string& text) {
  if (text == "balanced") return std::make_unique<BalancedLoad>();
  if (!text.starts_with("zipf:")) return make_traced_load(text);
  const std::optional<double> exponent = parse_double(text.substr(5));
  CONCLAVE_USER_CHECK(exponent && *exponent >= 0 && *exponent <= 100,
                      "--moe-routing-imbalance zipf:ALPHA takes a number from 0 to 100; got '{}'; write zipf:1.0",
                      text);
  return std::make_unique<ZipfLoad>(*exponent);
}

}  // namespace conclave
