#include "kernels/vocab_loss.h"

#include <cmath>

#include "kernels/op_check.h"
#include "kernels/ref/vocab_loss.h"

namespace conclave::kernels {
namespace {

struct Setting {
  DType dtype = DType::kF32;
  int64_t rows = 1, columns = 1, first = 0, vocabulary = 1;
  std::string name(const char* op) const {
    return fmt::format("{}_{}_{}x{}_from{}of{}", op, dtype_name(dtype), rows, columns, first, vocabulary);
  }
  ref::VocabRows<double> reference(OpValues& v) const { return {rows, columns, first, vocabulary, v.data("labels")}; }
};

CheckedCase maximum_case(const Setting& s) {
  CheckedCase checked;
  checked.op.name = s.name("maximum");
  checked.op.input("logits", DType::kF32, {s.rows, s.columns}, normal(-3, 4));
  checked.op.output("maximum", DType::kF32, {s.rows}, exact());
  checked.op.run = [](const Stream& stream, const OpTensors& t) {
    vocab_row_maximum(stream, {t["logits"], t["maximum"]});
  };
  checked.reference = [s](OpValues& v) {
    ref::VocabRows<double>{s.rows, s.columns}.maximum(v.data("logits"), v.data("maximum"));
  };
  return checked;
}

CheckedCase exponentials_case(const Setting& s) {
  CheckedCase checked;
  checked.op.name = s.name("exponentials");
  checked.op.in_out("logits", DType::kF32, {s.rows, s.columns}, normal(-3, 4), rounding(DType::kF32, 8, 0.1));
  checked.op.input("maximum", DType::kF32, {s.rows}, uniform(9, 12));
  checked.op.input("labels", DType::kI32, {s.rows}, integers(-1, s.vocabulary + 1));
  checked.op.output("sums", DType::kF32, {2, s.rows}, {1e-5, 1e-5});
  checked.op.run = [s](const Stream& stream, const OpTensors& t) {
    vocab_exponentials(stream, {t["logits"], t["maximum"], t["labels"], t["sums"], s.first});
  };
  checked.reference = [s](OpValues& v) {
    s.reference(v).exponentials(v.data("logits"), v.data("maximum"), v.data("sums"));
  };
  return checked;
}

CheckedCase loss_case(const Setting& s, bool with_gradient) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = s.name(with_gradient ? "gradient" : "loss");
  op.input("exponentials", DType::kF32, {s.rows, s.columns}, uniform(0, 1));
  op.input("sums", DType::kF32, {2, s.rows}, uniform(1, 4));
  op.input("labels", DType::kI32, {s.rows}, integers(0, s.vocabulary));
  op.output("loss", DType::kF32, {s.rows}, rounding(DType::kF32, 8));
  if (with_gradient) {
    op.input("row_weight", DType::kF32, {s.rows}, [](int64_t count, std::string_view seed) {
      std::vector<double> list = uniform(0.1, 1)(count, seed);
      for (size_t i = 0; i < list.size(); i += 3) list[i] = 0;
      return list;
    });
    op.output("gradient", s.dtype, {s.rows, s.columns}, rounding(s.dtype, 8));
  }
  op.run = [s](const Stream& stream, const OpTensors& t) {
    vocab_loss(stream, {t["exponentials"], t["sums"], t["labels"], t["loss"], t.optional("row_weight"),
                        t.optional("gradient"), s.first, s.vocabulary});
  };
  checked.reference = [s, with_gradient](OpValues& v) {
    s.reference(v).loss(v.data("exponentials"), v.data("sums"), with_gradient ? v.data("row_weight") : nullptr,
                        v.data("loss"), with_gradient ? v.data("gradient") : nullptr);
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const Setting& s : std::initializer_list<Setting>{{DType::kF32, 1, 1, 0, 1},
                                                         {DType::kF32, 0, 7, 7, 21},
                                                         {DType::kF32, 9, 37, 37, 100},
                                                         {DType::kBF16, 9, 37, 63, 100},
                                                         {DType::kBF16, 130, 300, 0, 600}}) {
    out.push_back(maximum_case(s));
    out.push_back(exponentials_case(s));
    out.push_back(loss_case(s, false));
    out.push_back(loss_case(s, true));
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(VocabLoss, OpCheck, ::testing::ValuesIn(checks()), case_name);

TEST(VocabLoss, RefusesALabelThatCountsOutsideTheVocabulary) {
  const auto device = make_device("cpu");
  const auto floats = [&](Shape shape, std::vector<float> data) { return from_host<float>(*device, shape, data, {}); };
  const Tensor exponentials = floats({1, 2}, {1, 1}), sums = floats({2, 1}, {2, 0}), loss = floats({1}, {0});
  const Tensor labels = from_host<int32_t>(*device, {1}, std::vector<int32_t>{2}, {});
  EXPECT_THROW(vocab_loss(device->default_stream(),
                          {exponentials, sums, labels, loss, floats({1}, {1}), floats({1, 2}, {0, 0}), 0, 2}),
               Error);
  vocab_loss(device->default_stream(),
             {exponentials, sums, labels, loss, floats({1}, {0}), floats({1, 2}, {0, 0}), 0, 2});
  EXPECT_EQ(loss.data<float>()[0], 0);
}

}  // namespace
}  // namespace conclave::kernels
