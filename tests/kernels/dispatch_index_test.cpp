#include "kernels/dispatch_index.h"

#include <numeric>

#include "kernels/op_check.h"
#include "kernels/ref/dispatch_index.h"
#include "kernels/ref/permute.h"

namespace conclave::kernels {
namespace {

CheckedCase map_case(int64_t tokens, int64_t topk, std::vector<double> source_rows) {
  constexpr int64_t kExperts = 7;
  const auto sources = std::max<int64_t>(1, static_cast<int64_t>(source_rows.size()));
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("map_{}x{}_{}sources", tokens, topk, source_rows.size());
  op.input("experts", DType::kI32, {tokens, topk}, integers(-1, kExperts));
  op.input("table", DType::kI32, {kExperts}, values({-1, 2, 0, -1, 1, 3, -1}));
  if (!source_rows.empty()) op.input("source_rows", DType::kI64, {sources}, values(source_rows));
  op.output("out", DType::kI32, {tokens, topk}, exact());
  op.run = [](const Stream& stream, const OpTensors& t) {
    map_choices(stream, {t["experts"], t["table"], t.optional("source_rows"), t["out"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::map_choices<double>(
        {tokens, topk, sources, v.data("experts"), v.data("table"), v.data("source_rows"), v.data("out")});
  };
  return checked;
}

CheckedCase hits_case(int64_t tokens, int64_t topk, int64_t destinations) {
  constexpr int64_t kExperts = 12;
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("hits_{}x{}_{}", tokens, topk, destinations);
  op.input("experts", DType::kI32, {tokens, topk}, integers(-1, kExperts));
  op.input("homes", DType::kU8, {kExperts, destinations}, integers(0, 2));
  op.output("hits", DType::kI32, {tokens, destinations}, exact());
  op.run = [](const Stream& stream, const OpTensors& t) {
    destination_hits(stream, {t["experts"], t["homes"], t["hits"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::destination_hits<double>({tokens, topk, destinations, v.data("experts"), v.data("homes"), v.data("hits")});
  };
  return checked;
}

CheckedCase reorder_case(std::vector<double> sizes, std::vector<double> order) {
  const auto chunks = static_cast<int64_t>(sizes.size());
  const auto rows = static_cast<int64_t>(std::accumulate(sizes.begin(), sizes.end(), 0.0));
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("reorder_{}rows_{}chunks", rows, chunks);
  op.input("sizes", DType::kI64, {chunks}, values(std::move(sizes)));
  op.input("order", DType::kI32, {chunks}, values(std::move(order)));
  op.output("from", DType::kI32, {rows}, exact()).output("to", DType::kI32, {rows}, exact());
  op.run = [](const Stream& stream, const OpTensors& t) {
    reorder_chunks(stream, {t["sizes"], t["order"], t["from"], t["to"]});
  };
  checked.reference = [=](OpValues& v) {
    ref::reorder_chunks<double>({chunks, v.data("sizes"), v.data("order"), v.data("from"), v.data("to")});
  };
  return checked;
}

CheckedCase compose_case(int64_t table, int64_t rows) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = fmt::format("compose_{}of{}", rows, table);
  op.input("table", DType::kI32, {table}, integers(-1, 100)).input("index", DType::kI32, {rows}, integers(-1, table));
  op.output("out", DType::kI32, {rows}, exact());
  op.run = [](const Stream& stream, const OpTensors& t) { compose_index(stream, {t["table"], t["index"], t["out"]}); };
  checked.reference = [=](OpValues& v) {
    for (size_t p = 0; p < static_cast<size_t>(rows); ++p) {
      const double index = v["index"][p];
      v["out"][p] = index < 0 ? -1 : v["table"][static_cast<size_t>(index)];
    }
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  return {map_case(0, 2, {}),
          map_case(9, 2, {}),
          map_case(9, 3, {3, 0, 6}),
          map_case(300, 2, {100, 100, 100}),
          hits_case(0, 2, 3),
          hits_case(1, 1, 1),
          hits_case(33, 8, 5),
          hits_case(300, 2, 4),
          reorder_case({3, 0, 2, 4}, {2, 3, 1, 0}),
          reorder_case({0, 0}, {1, 0}),
          reorder_case({700, 1, 299}, {1, 2, 0}),
          compose_case(11, 0),
          compose_case(11, 37),
          compose_case(500, 1000)};
}

INSTANTIATE_TEST_SUITE_P(DispatchIndex, OpCheck, ::testing::ValuesIn(checks()), case_name);

class DispatchIndexErrors : public ::testing::Test {
 protected:
  std::unique_ptr<Device> device_ = make_device("cpu");
  Stream stream_ = device_->default_stream();
  Tensor i32(std::vector<int32_t> list, Shape shape) { return from_host<int32_t>(*device_, shape, list, {}); }
  Tensor i64(std::vector<int64_t> list) {
    return from_host<int64_t>(*device_, {static_cast<int64_t>(list.size())}, list, {});
  }
};

TEST_F(DispatchIndexErrors, NothingOutsideIsRead) {
  const Tensor out = i32({0, 0}, {1, 2}), rows = i32({0, 0}, {2}), other = i32({0, 0}, {2});
  EXPECT_THROW(map_choices(stream_, {i32({0, 3}, {1, 2}), i32({0, 1, 2}, {3}), {}, out}), InternalError);
  EXPECT_THROW(map_choices(stream_, {i32({0, 1}, {1, 2}), i32({0, 1, 2}, {3}), i64({2}), out}), InternalError);
  EXPECT_THROW(reorder_chunks(stream_, {i64({1, 2}), i32({0, 1}, {2}), rows, other}), InternalError);
  EXPECT_THROW(reorder_chunks(stream_, {i64({2, 0}), i32({0, 0}, {2}), rows, other}), InternalError);
  EXPECT_THROW(reorder_chunks(stream_, {i64({2, 0}), i32({0, 2}, {2}), rows, other}), InternalError);
  EXPECT_THROW(compose_index(stream_, {i32({0, 1, 2}, {3}), i32({0, -2}, {2}), rows}), InternalError);
}

}  // namespace
}  // namespace conclave::kernels
