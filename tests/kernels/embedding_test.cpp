#include "kernels/embedding.h"

#include "kernels/op_check.h"
#include "kernels/ref/embedding.h"

namespace conclave::kernels {
namespace {

struct Setting {
  DType dtype = DType::kF32;
  int64_t batch = 1, length = 1, vocabulary = 1, width = 1;
  std::string name(const char* pass) const {
    return fmt::format("{}_{}_{}x{}_{}x{}", pass, dtype_name(dtype), batch, length, vocabulary, width);
  }
};

CheckedCase forward_case(const Setting& s, Accumulate accumulate) {
  const bool add = accumulate == Accumulate::kAdd;
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = s.name(add ? "forward_add" : "forward");
  op.input("ids", DType::kI32, {s.batch, s.length}, integers(0, s.vocabulary));
  op.input("table", s.dtype, {s.vocabulary, s.width}, normal());
  const Shape shape{s.length, s.batch, s.width};
  add ? op.in_out("y", s.dtype, shape, normal(), rounding(s.dtype)) : op.output("y", s.dtype, shape, exact());
  op.run = [accumulate](const Stream& stream, const OpTensors& t) {
    embedding_forward(stream, {t["ids"], t["table"], t["y"], accumulate});
  };
  checked.reference = [s](OpValues& v) {
    ref::embedding_forward<double, double>({s.batch, s.length, s.width, v.data("ids"), v.data("table"), v.data("y")});
  };
  return checked;
}

CheckedCase backward_case(const Setting& s) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = s.name("backward");
  op.input("ids", DType::kI32, {s.batch, s.length}, integers(0, s.vocabulary));
  op.input("dy", s.dtype, {s.length, s.batch, s.width}, normal());
  op.in_out("dtable", DType::kF32, {s.vocabulary, s.width}, normal(),
            sum_rounding(DType::kF32, s.batch * s.length / s.vocabulary + 8));
  op.run = [](const Stream& stream, const OpTensors& t) {
    embedding_backward(stream, {t["ids"], t["dy"], t["dtable"]});
  };
  checked.reference = [s](OpValues& v) {
    ref::embedding_backward<double, double>(
        {s.batch, s.length, s.width, v.data("ids"), v.data("dy"), v.data("dtable")});
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Setting& s : std::initializer_list<Setting>{
             {dtype, 1, 1, 1, 1}, {dtype, 2, 0, 5, 8}, {dtype, 3, 7, 5, 37}, {dtype, 2, 60, 9, 288}}) {
      out.push_back(forward_case(s, Accumulate::kOverwrite));
      out.push_back(forward_case(s, Accumulate::kAdd));
      out.push_back(backward_case(s));
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Embedding, OpCheck, ::testing::ValuesIn(checks()), case_name);

GradientCase gradient_case() {
  static const std::vector<int32_t> ids = {3, 0, 3, 1, 1, 3};
  GradientCase gradient;
  gradient.name = "table";
  gradient.inputs = {{"table", 4 * 3, normal()}};
  gradient.outputs = {{"y", 6 * 3}};
  gradient.forward = [](OpValues& v) {
    ref::embedding_forward<double, int32_t>({2, 3, 3, ids.data(), v.data("table"), v.data("y")});
  };
  gradient.backward = [](OpValues& v) {
    ref::embedding_backward<double, int32_t>({2, 3, 3, ids.data(), v.data("dy"), v.data("dtable")});
  };
  return gradient;
}
INSTANTIATE_TEST_SUITE_P(Embedding, GradientCheck, ::testing::Values(gradient_case()), gradient_name);

TEST(Embedding, PiecesOfATableGiveTheWhole) {
  const auto device = make_device("cpu");
  const Stream stream = device->default_stream();
  const Tensor ids = from_host<int32_t>(*device, {2, 3}, std::vector<int32_t>{0, 4, 2, 3, 1, 4}, {});
  const auto filled = [&](Shape shape, float first) {
    std::vector<float> data(static_cast<size_t>(shape.element_count()));
    for (size_t i = 0; i < data.size(); ++i) data[i] = first + static_cast<float>(i);
    return from_host<float>(*device, shape, data, {});
  };
  const Tensor table = filled({5, 2}, 1), dy = filled({3, 2, 2}, -4);
  const Tensor whole = filled({3, 2, 2}, 0), sum = filled({3, 2, 2}, 0), gradient = filled({5, 2}, 0);
  embedding_forward(stream, {ids, table, whole});
  embedding_backward(stream, {ids, dy, gradient});
  std::fill_n(sum.data<float>(), sum.element_count(), 0.0f);
  for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{0, 3}, {3, 2}}) {
    const Tensor part = filled({3, 2, 2}, 7), dpart = filled({rows, 2}, static_cast<float>(2 * first));
    const VocabularyShard shard{first, 5};
    embedding_forward(stream, {ids, table.slice(first, first + rows), part, Accumulate::kOverwrite, shard});
    for (int64_t i = 0; i < sum.element_count(); ++i) sum.data<float>()[i] += part.data<float>()[i];
    embedding_backward(stream, {ids, dy, dpart, shard});
    for (int64_t i = 0; i < dpart.element_count(); ++i)
      EXPECT_EQ(dpart.data<float>()[i], gradient.data<float>()[first * 2 + i]) << first << " " << i;
  }
  for (int64_t i = 0; i < sum.element_count(); ++i) EXPECT_EQ(sum.data<float>()[i], whole.data<float>()[i]) << i;
}

TEST(Embedding, NamesAnIdOutsideTheVocabulary) {
  const auto device = make_device("cpu");
  for (const int32_t bad : {-1, 5}) {
    const Tensor ids = from_host<int32_t>(*device, {1, 3}, std::vector<int32_t>{0, 4, bad}, {});
    const auto tensor = [&](Shape shape) { return Tensor::empty(*device, shape, DType::kF32, {}); };
    const Tensor table = tensor({5, 4}), y = tensor({3, 1, 4});
    for (const bool backward : {false, true}) {
      try {
        backward ? embedding_backward(device->default_stream(), {ids, y, table})
                 : embedding_forward(device->default_stream(), {ids, table, y});
        FAIL();
      } catch (const UserError& error) {
        EXPECT_NE(std::string(error.what()).find(fmt::format("token id {} in sequence 0, position 2", bad)),
                  std::string::npos)
            << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace conclave::kernels
