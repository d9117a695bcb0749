#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "cli/command.h"
#include "config/validate.h"
#include "proof/parity.h"

namespace conclave {
namespace {

void print_row(const proof::ParityRow& row) {
  if (!row.fault.empty()) {
    fmt::print("{:<72} {}\n", row.name, row.fault);
    return;
  }
  fmt::print("{:<72} {:>10.3e} {:>10.3e} {:>10.3e}  {}\n", row.name, row.difference, row.relative, row.allowed,
             row.passed() ? "ok" : "OFF");
}

void print_table(const proof::ParityReport& report, bool all) {
  constexpr size_t kWorst = 10;
  std::vector<proof::ParityRow> rows = report.rows;
  if (!all) {
    std::stable_sort(rows.begin() + 2, rows.end(), [](const proof::ParityRow& a, const proof::ParityRow& b) {
      const auto share = [](const proof::ParityRow& row) {
        return row.fault.empty() && row.difference == row.difference ? row.difference / row.allowed : 1e300;
      };
      return share(a) > share(b);
    });
    rows.resize(std::min(rows.size(), kWorst + 2));
  }
  fmt::print("{:<72} {:>10} {:>10} {:>10}\n", "tensor", "difference", "relative", "allowed");
  for (const proof::ParityRow& row : rows) print_row(row);
  if (rows.size() < report.rows.size())
    fmt::print("({} more gradients, all nearer to what is allowed than these; --print all shows them)\n",
               report.rows.size() - rows.size());
}

void print_json(const proof::ParityReport& report) {
  Json rows = Json::array();
  for (const proof::ParityRow& row : report.rows) {
    Json json = Json::object();
    json["name"] = row.name;
    if (row.fault.empty()) {
      json["difference"] = row.difference;
      json["relative"] = row.relative;
      json["allowed"] = row.allowed;
    } else {
      json["fault"] = row.fault;
    }
    json["passed"] = row.passed();
    rows.push_back(std::move(json));
  }
  Json out = Json::object();
  out["passed"] = report.passed();
  out["loss"] = report.loss;
  out["tensors"] = std::move(rows);
  fmt::print("{}\n", out.dump());
}

}  // namespace

int parity_command(const Words& words) {
  ParsedOptions parsed = parse_command_line(Command::kParity, words);
  const std::vector<std::string> problems = option_contradictions(parsed, Command::kParity);
  if (!problems.empty()) throw UsageError(problems.front());
  const std::string dtype = parsed.options.bench.dtype.value_or("f32");
  if (dtype == "f16") throw UsageError("`conclave parity` runs in f32 or bf16; got --dtype f16; choose one of those");
  if (dtype == "bf16") parsed.options.precision.bf16 = true;
  const proof::ParityReport report =
      proof::run_parity(*parsed.options.parity.hf, *parsed.options.parity.reference, parsed);
  if (parsed.options.bench.json) {
    print_json(report);
  } else {
    print_table(report, parsed.options.parity.print == "all");
    const std::string fault = report.first_fault();
    fault.empty() ? fmt::print("all within what is allowed\n") : fmt::print("first out of tolerance: {}\n", fault);
  }
  return report.passed() ? 0 : 1;
}

}  // namespace conclave
