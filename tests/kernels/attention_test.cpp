#include "kernels/attention.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/op_check.h"
#include "kernels/ref/attention.h"

namespace conclave::kernels {
namespace {

enum class Documents { kNone, kPacked, kUnseen };

struct Setting {
  const char* label = "";
  DType dtype = DType::kF32;
  int64_t batch = 1, heads = 1, groups = 1, queries = 1, keys = 1, size = 1, value_size = 1;
  bool causal = true;
  int64_t window = 0;
  Documents documents = Documents::kNone;
  float dropout = 0;
  int64_t spare_keys = 0;  // room in the cache beyond the keys
  bool sink = false;
  double scale = 1 / std::sqrt(static_cast<double>(size));
  std::optional<AttentionPlace> place = std::nullopt;
  bool maximum = true;  // asks for the largest score

  AttentionPlace standing() const { return place.value_or(AttentionPlace{0, keys - queries, 0, keys, keys}); }
  Setting without_maximum() const {
    Setting made = *this;
    made.maximum = false;
    return made;
  }
  Setting at(AttentionPlace where) const {
    Setting moved = *this;
    moved.place = where;
    return moved;
  }

  std::string name(const char* pass) const {
    return fmt::format("{}_{}{}_{}x{}x{}_{}x{}_{}x{}{}", pass, dtype_name(dtype), label, batch, heads, groups, queries,
                       keys, size, value_size, maximum ? "" : "_no_maximum");
  }
  Shape q() const { return {batch, heads, queries, size}; }
  Shape k() const { return {batch, groups, keys + spare_keys, size}; }
  Shape v() const { return {batch, groups, keys + spare_keys, value_size}; }
  Shape out() const { return {queries, batch, heads * value_size}; }
  Shape lse() const { return {batch, heads, queries}; }
  std::vector<RandomStream> streams() const {
    std::vector<RandomStream> list;
    for (int64_t b = 0; b < batch && dropout > 0; ++b) list.emplace_back(5, "attention", static_cast<uint64_t>(b + 9));
    return list;
  }
  AttentionMask mask(const OpTensors& t) const { return {causal, window, t.optional("document_starts"), place}; }
};

// First key of each query's document: documents of uneven length, or starts that lie beyond the query itself.
Fill document_starts(const Setting& s) {
  return [s](int64_t, std::string_view) {
    std::vector<double> out;
    for (int64_t b = 0; b < s.batch; ++b) {
      for (int64_t i = 0; i < s.queries; ++i) {
        const int64_t self = i + s.standing().first_query, length = 7 + 5 * b;
        const bool unseen = s.documents == Documents::kUnseen && i % 3 == 1;
        out.push_back(static_cast<double>(unseen ? s.keys : std::max<int64_t>(0, self) / length * length));
      }
    }
    return out;
  };
}

void add_documents(OpCase& op, const Setting& s) {
  if (s.documents != Documents::kNone)
    op.input("document_starts", DType::kI32, {s.batch, s.queries}, document_starts(s));
}

// What the reference reads besides tensors of doubles; must outlive its use.
struct ReferenceInputs {
  std::vector<int32_t> starts;
  std::vector<RandomStream> streams;
};

ref::Attention<double> reference(const Setting& s, OpValues& v, ReferenceInputs& inputs) {
  inputs.streams = s.streams();
  if (v.has("document_starts")) inputs.starts = v.as<int32_t>("document_starts");
  ref::Attention<double> a{s.batch, s.heads, s.groups, s.queries, s.keys, s.keys + s.spare_keys, s.size, s.value_size};
  a.causal = s.causal;
  a.window = s.window;
  a.document_starts = inputs.starts.empty() ? nullptr : inputs.starts.data();
  a.dropout_rate = s.dropout;
  a.streams = &inputs.streams;
  a.scale = s.scale;
  const AttentionPlace place = s.standing();
  a.first_head = place.first_head;
  a.first_query = place.first_query;
  a.first_key = place.first_key;
  a.all_queries = place.queries;
  a.all_keys = place.keys;
  a.q = v.data("q");
  a.k = v.data("k");
  a.v = v.data("v");
  a.out = v.data("out");
  a.lse = v.data("lse");
  a.max_logit = v.data("max_logit");
  a.sink = v.data("sink");
  a.dsink = v.data("dsink");
  a.dout = v.data("dout");
  a.dq = v.data("dq");
  a.dk = v.data("dk");
  a.dv = v.data("dv");
  return a;
}

// Matrix units take their operands in the dtype: each probability, or gradient at a score, is rounded once before it
// multiplies, so each term of a sum may be off by 2^-8 of itself. Gives the reference somewhere to sum the terms'
// sizes, and makes that part of them the slack of each element.
template <typename Reference>
void with_rounded_operands(const Setting& s, OpValues& v, Reference reference,
                           std::initializer_list<std::pair<const char*, double * ref::Attention<double>::*>> outputs) {
  ReferenceInputs inputs;
  ref::Attention<double> a = ::conclave::kernels::reference(s, v, inputs);
  std::vector<std::vector<double>> sizes;
  for (const auto& [name, field] : outputs) {
    sizes.emplace_back(s.dtype == DType::kBF16 ? v[name].size() : 0);
    if (s.dtype == DType::kBF16) a.*field = sizes.back().data();
  }
  reference(a);
  for (size_t i = 0; i < sizes.size() && s.dtype == DType::kBF16; ++i) {
    for (double& one : sizes[i]) one *= 0x1p-8;
    v.set(slack_of(outputs.begin()[i].first), std::move(sizes[i]));
  }
}

CheckedCase forward_case(const Setting& s) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = s.name("forward");
  op.input("q", s.dtype, s.q(), normal()).input("k", s.dtype, s.k(), normal()).input("v", s.dtype, s.v(), normal());
  add_documents(op, s);
  if (s.sink) op.input("sink", s.dtype, {s.heads}, normal());
  op.output("out", s.dtype, s.out(), sum_rounding(s.dtype, 24));
  if (s.documents != Documents::kUnseen) {
    op.output("lse", DType::kF32, s.lse(), rounding(DType::kF32, 16, 2));
    if (s.maximum) op.output("max_logit", DType::kF32, s.lse(), rounding(DType::kF32, 16, 2));
  }
  op.run = [s](const Stream& stream, const OpTensors& t) {
    attention_forward(stream, {.q = t["q"],
                               .k = t["k"],
                               .v = t["v"],
                               .out = t["out"],
                               .key_count = s.spare_keys > 0 ? s.keys : 0,
                               .lse = t.optional("lse"),
                               .mask = s.mask(t),
                               .dropout = {s.dropout, s.streams()},
                               .scale = static_cast<float>(s.scale),
                               .max_logit = t.optional("max_logit"),
                               .sink = t.optional("sink")});
  };
  checked.reference = [s](OpValues& v) {
    with_rounded_operands(s, v, ref::attention_forward<double>, {{"out", &ref::Attention<double>::out_sizes}});
  };
  return checked;
}

// out and lse are given, so the probabilities need not sum to one here.
CheckedCase backward_case(const Setting& s) {
  CheckedCase checked;
  OpCase& op = checked.op;
  op.name = s.name("backward");
  op.input("dout", s.dtype, s.out(), normal()).input("out", s.dtype, s.out(), normal());
  op.input("q", s.dtype, s.q(), normal()).input("k", s.dtype, s.k(), normal()).input("v", s.dtype, s.v(), normal());
  op.input("lse", DType::kF32, s.lse(), uniform(3, 4));
  add_documents(op, s);
  const int64_t rows = s.queries / 2 * (s.heads / s.groups);
  op.output("dq", s.dtype, s.q(), sum_rounding(s.dtype, 8 + s.keys / 2));
  op.output("dk", s.dtype, s.k(), sum_rounding(s.dtype, 8 + rows));
  op.output("dv", s.dtype, s.v(), sum_rounding(s.dtype, 8 + rows));
  if (s.sink) {
    op.input("sink", s.dtype, {s.heads}, normal());
    op.in_out("dsink", DType::kF32, {s.heads}, normal(), sum_rounding(DType::kF32, 8 + s.batch * s.queries));
  }
  op.run = [s](const Stream& stream, const OpTensors& t) {
    attention_backward(stream, {.dout = t["dout"],
                                .q = t["q"],
                                .k = t["k"],
                                .v = t["v"],
                                .out = t["out"],
                                .lse = t["lse"],
                                .dq = t["dq"],
                                .dk = t["dk"],
                                .dv = t["dv"],
                                .mask = s.mask(t),
                                .dropout = {s.dropout, s.streams()},
                                .scale = static_cast<float>(s.scale),
                                .sink = t.optional("sink"),
                                .dsink = t.optional("dsink")});
  };
  checked.reference = [s](OpValues& v) {
    using Attention = ref::Attention<double>;
    with_rounded_operands(s, v, ref::attention_backward<double>,
                          {{"dq", &Attention::dq_sizes}, {"dk", &Attention::dk_sizes}, {"dv", &Attention::dv_sizes}});
  };
  return checked;
}

std::vector<Setting> settings(DType dtype) {
  return {
      {"_one", dtype, 1, 1, 1, 1, 1, 1, 1},
      {"_no_queries", dtype, 2, 2, 1, 0, 5, 8, 8},
      {"_no_sequences", dtype, 0, 2, 1, 5, 5, 8, 8},
      {"_odd", dtype, 2, 3, 3, 13, 13, 7, 5},
      {"_odd_wide", dtype, 1, 2, 1, 67, 67, 40, 24},
      {"_plain", dtype, 2, 2, 2, 130, 130, 32, 32},
      {"_grouped", dtype, 2, 6, 2, 70, 70, 16, 16},
      {"_values_narrow", dtype, 1, 2, 1, 70, 70, 48, 16},
      {"_values_wide", dtype, 1, 2, 2, 50, 50, 16, 64},
      {"_head_128", dtype, 1, 2, 1, 150, 150, 128, 128},
      {"_head_192", dtype, 2, 2, 2, 140, 140, 192, 128},
      {"_full", dtype, 2, 2, 1, 33, 90, 16, 16, false},
      {"_cached", dtype, 2, 4, 2, 5, 150, 32, 32},
      {"_more_queries_than_keys", dtype, 1, 2, 2, 40, 30, 16, 16, false},
      {"_window", dtype, 1, 2, 1, 200, 200, 16, 16, true, 50},
      {"_window_of_one", dtype, 1, 2, 1, 30, 30, 8, 8, true, 1},
      {"_window_cached", dtype, 1, 2, 1, 9, 170, 16, 16, true, 65},
      {"_window_full", dtype, 1, 2, 1, 60, 60, 16, 16, false, 9},
      {"_documents", dtype, 3, 2, 1, 150, 150, 16, 16, true, 0, Documents::kPacked},
      {"_documents_window", dtype, 2, 2, 1, 90, 90, 16, 16, true, 4, Documents::kPacked},
      {"_unseen", dtype, 2, 2, 1, 40, 40, 16, 16, true, 0, Documents::kUnseen},
      {"_dropout", dtype, 2, 4, 2, 75, 75, 16, 16, true, 0, Documents::kNone, 0.2f},
      {"_dropout_cached", dtype, 1, 2, 2, 7, 83, 16, 16, true, 20, Documents::kNone, 0.5f},
      // Blocks of a longer attention: queries before, over and after the keys.
      Setting{"_block_before", dtype, 1, 2, 1, 30, 40, 16, 16}.at({0, 10, 60, 100, 100}),
      Setting{"_block_over", dtype, 2, 2, 1, 70, 75, 16, 16, true, 0, Documents::kNone, 0.3f}.at({4, 90, 80, 300, 300}),
      Setting{"_block_after", dtype, 1, 2, 2, 40, 70, 16, 16, true, 90}.at({2, 150, 70, 200, 200}),
      Setting{"_block_documents", dtype, 2, 2, 1, 50, 66, 16, 16, true, 0, Documents::kPacked}.at(
          {0, 64, 32, 128, 128}),
  };
}

std::vector<Setting> sink_settings(DType dtype) {
  std::vector<Setting> out = {{"_sink", dtype, 2, 4, 2, 75, 75, 16, 16},
                              {"_sink_cached", dtype, 1, 2, 1, 5, 90, 16, 24},
                              {"_sink_window", dtype, 1, 2, 1, 100, 100, 16, 16, true, 9},
                              {"_sink_unseen", dtype, 2, 2, 1, 40, 40, 16, 16, true, 0, Documents::kUnseen},
                              {"_sink_dropout", dtype, 2, 2, 1, 40, 40, 16, 16, true, 0, Documents::kNone, 0.3f},
                              {"_sink_no_queries", dtype, 2, 2, 1, 0, 5, 8, 8}};
  for (Setting& s : out) s.sink = true;
  return out;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    for (const Setting& s : settings(dtype)) {
      out.push_back(forward_case(s));
      out.push_back(backward_case(s));
    }
    for (const Setting& s : sink_settings(dtype)) {
      out.push_back(forward_case(s));
      out.push_back(backward_case(s));
    }
    for (const Setting& s : {Setting{"_plain", dtype, 2, 2, 2, 130, 130, 32, 32},
                             {"_grouped", dtype, 2, 6, 2, 70, 70, 128, 128},
                             {"_values_narrow", dtype, 1, 2, 2, 150, 150, 192, 128},
                             {"_cached", dtype, 2, 4, 2, 5, 150, 64, 64},
                             {"_window", dtype, 1, 2, 1, 200, 200, 16, 16, true, 50},
                             {"_full", dtype, 2, 2, 1, 33, 90, 16, 16, false}})
      out.push_back(forward_case(s.without_maximum()));
    out.push_back(forward_case({"_no_keys", dtype, 1, 2, 1, 3, 0, 8, 8, true, 0, Documents::kUnseen}));
    out.push_back(forward_case({"_spare", dtype, 2, 4, 2, 3, 70, 16, 16, true, 0, Documents::kNone, 0, 21}));
    out.push_back(forward_case({"_spare_single", dtype, 2, 4, 1, 1, 129, 32, 16, true, 100, Documents::kNone, 0, 5}));
  }
  return out;
}

GradientCase gradient_case(const Setting& s) {
  GradientCase gradient;
  gradient.name = s.label;
  gradient.inputs = {{"q", s.q().element_count(), normal()},
                     {"k", s.k().element_count(), normal()},
                     {"v", s.v().element_count(), normal()}};
  if (s.documents != Documents::kNone)
    gradient.inputs.push_back({"document_starts", s.batch * s.queries, document_starts(s), false});
  if (s.sink) gradient.inputs.push_back({"sink", s.heads, normal()});
  gradient.outputs = {{"out", s.out().element_count()}};
  gradient.forward = [s](OpValues& v) {
    ReferenceInputs inputs;
    ref::attention_forward(reference(s, v, inputs));
  };
  gradient.backward = [s](OpValues& v) {
    ReferenceInputs inputs;
    ref::Attention<double> a = reference(s, v, inputs);
    std::vector<double> out(static_cast<size_t>(s.out().element_count()));
    std::vector<double> lse(static_cast<size_t>(s.lse().element_count()));
    a.out = out.data();
    a.lse = lse.data();
    ref::attention_forward(a);
    ref::attention_backward(a);
  };
  return gradient;
}

Setting with_sink(Setting s) {
  s.sink = true;
  return s;
}

std::vector<GradientCase> gradients() {
  return {gradient_case({"causal", DType::kF64, 2, 4, 2, 5, 5, 3, 2}),
          gradient_case({"cached", DType::kF64, 1, 2, 1, 3, 6, 3, 3}),
          gradient_case({"window_documents", DType::kF64, 2, 2, 2, 9, 9, 2, 2, true, 4, Documents::kPacked}),
          gradient_case(with_sink({"sink", DType::kF64, 2, 4, 2, 6, 6, 3, 2})),
          gradient_case(with_sink({"sink_dropout", DType::kF64, 1, 2, 1, 4, 7, 3, 3, true, 3, Documents::kNone, 0.4f})),
          gradient_case({"dropout", DType::kF64, 2, 2, 1, 4, 4, 3, 3, false, 0, Documents::kNone, 0.4f})};
}

INSTANTIATE_TEST_SUITE_P(Attention, OpCheck, ::testing::ValuesIn(checks()), case_name);
INSTANTIATE_TEST_SUITE_P(Attention, GradientCheck, ::testing::ValuesIn(gradients()), gradient_name);

// A whole pass on the CPU: forward, then backward from what it left.
class AttentionPass : public ::testing::Test {
 protected:
  explicit AttentionPass(Setting s = {"", DType::kF32, 2, 4, 2, 100, 100, 32, 32}) : s_(s) {}
  Tensor make(Shape shape, DType dtype = DType::kF32) { return Tensor::empty(*device_, shape, dtype, {}); }
  void fill(const Tensor& tensor, const char* seed) { write_values(tensor, normal()(tensor.element_count(), seed)); }
  void run() {
    q_ = make(s_.q()), k_ = make(s_.k()), v_ = make(s_.v()), dout_ = make(s_.out());
    out_ = make(s_.out()), lse_ = make(s_.lse()), max_logit_ = make(s_.lse());
    dq_ = make(s_.q()), dk_ = make(s_.k()), dv_ = make(s_.v());
    fill(q_, "q"), fill(k_, "k"), fill(v_, "v"), fill(dout_, "dout");
    again();
  }
  void again() {
    const Stream stream = device_->default_stream();
    const float scale = static_cast<float>(s_.scale);
    attention_forward(stream, {q_, k_, v_, out_, 0, lse_, {s_.causal, s_.window, starts_}, {}, scale, max_logit_});
    attention_backward(stream,
                       {dout_, q_, k_, v_, out_, lse_, dq_, dk_, dv_, {s_.causal, s_.window, starts_}, {}, scale});
  }
  std::vector<double> gradients_now() {
    std::vector<double> all;
    for (const Tensor& t : {out_, lse_, max_logit_, dq_, dk_, dv_}) {
      const std::vector<double> list = read_values(t);
      all.insert(all.end(), list.begin(), list.end());
    }
    return all;
  }
  std::unique_ptr<Device> device_ = make_device("cpu");
  Setting s_;
  Tensor q_, k_, v_, dout_, out_, lse_, max_logit_, dq_, dk_, dv_, starts_;
};

TEST_F(AttentionPass, BitsDoNotDependOnTheNumberOfThreads) {
  s_.queries = s_.keys = 150;
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  run();
  const std::vector<double> one = gradients_now();
  for (const int threads : {2, 3, 7, 9}) {  // above four, the backward pass goes in two
    omp_set_num_threads(threads);
    again();
    EXPECT_EQ(gradients_now(), one) << threads;
  }
  omp_set_num_threads(before);
}

TEST_F(AttentionPass, QueriesThatSeeNothingGiveZerosAndNoNaN) {
  s_.queries = s_.keys = 30;
  std::vector<int32_t> starts(60, 0);
  for (size_t i = 0; i < starts.size(); i += 4) starts[i] = 1000;
  starts_ = from_host<int32_t>(*device_, {2, 30}, starts, {});
  run();
  const std::vector<double> out = read_values(out_), lse = read_values(lse_), dq = read_values(dq_);
  for (size_t i = 0; i < 30; ++i) {
    for (size_t h = 0; h < 4; ++h) {
      const bool unseen = starts[i] == 1000;
      EXPECT_EQ(std::isinf(lse[h * 30 + i]), unseen);
      EXPECT_EQ(std::isinf(read_values(max_logit_)[h * 30 + i]), unseen);
      double sum = 0, dsum = 0;
      for (size_t d = 0; d < 32; ++d) {
        sum += std::fabs(out[(i * 2 * 4 + h) * 32 + d]);
        dsum += std::fabs(dq[(h * 30 + i) * 32 + d]);
      }
      EXPECT_EQ(sum == 0, unseen) << i;
      EXPECT_EQ(dsum == 0, unseen || i == 0) << i;
    }
  }
  for (const double value : gradients_now()) ASSERT_FALSE(std::isnan(value));
}

TEST_F(AttentionPass, ScoresOfMinusInfinityCountAsUnseen) {
  run();
  std::vector<double> queries = read_values(q_), keys = read_values(k_);
  std::fill_n(queries.begin(), 32, 1e30);  // query 0 of the first head sees key 0 alone
  std::fill_n(keys.begin(), 32, -1e30);
  write_values(q_, queries);
  write_values(k_, keys);
  again();
  EXPECT_EQ(read_values(lse_)[0], -std::numeric_limits<double>::infinity());
  EXPECT_EQ(read_values(out_)[0], 0);
  for (const double value : gradients_now()) ASSERT_FALSE(std::isnan(value));
}

TEST_F(AttentionPass, NaNComesThrough) {
  run();
  std::vector<double> keys = read_values(k_);
  keys[5 * 32 + 3] = std::nan("");
  write_values(k_, keys);
  again();
  const std::vector<double> out = read_values(out_);
  EXPECT_FALSE(std::isnan(out[4 * 2 * 4 * 32]));  // query 4 of the first head does not see key 5
  EXPECT_TRUE(std::isnan(out[5 * 2 * 4 * 32]));
  EXPECT_TRUE(std::isnan(read_values(dq_)[5 * 32]));
  EXPECT_FALSE(std::isnan(read_values(max_logit_)[4]));
  EXPECT_TRUE(std::isnan(read_values(max_logit_)[5]));
}

TEST_F(AttentionPass, LargeScoresDoNotOverflow) {
  s_.scale = 300;
  run();
  for (const double value : gradients_now()) ASSERT_TRUE(std::isfinite(value));
}

TEST(AttentionCost, CountsWhatIsSeen) {
  const auto device = make_device("sim");
  const auto tensor = [&](Shape shape) { return Tensor::empty(*device, shape, DType::kF32, {}); };
  AttentionForwardArgs args{tensor({1, 2, 10, 4}), tensor({1, 2, 10, 4}), tensor({1, 2, 10, 4}), tensor({10, 1, 8})};
  EXPECT_EQ(attention_forward_cost(args).flops, 2 * 2 * 55 * 8);
  args.mask.window = 3;
  EXPECT_EQ(attention_forward_cost(args).flops, 2 * 2 * (1 + 2 + 8 * 3) * 8);
  args.mask = {.causal = false, .window = 0, .document_starts = {}};
  EXPECT_EQ(attention_forward_cost(args).flops, 2 * 2 * 100 * 8);
}

}  // namespace
}  // namespace conclave::kernels
