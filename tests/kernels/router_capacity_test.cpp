// Dropping, routing maps and counting.
#include "kernels/router_capacity.h"

#include "kernels/op_check.h"
#include "kernels/ref/router_capacity.h"

namespace conclave::kernels {
namespace {

/// K distinct experts for each token, the first ones more often than the last.
Fill skewed_choice(int64_t topk, int64_t experts) {
  return [=](int64_t count, std::string_view seed) {
    const std::vector<double> noise = uniform()(count / topk * experts, seed);
    std::vector<double> out;
    for (int64_t t = 0; t < count / topk; ++t) {
      std::vector<double> keys(noise.begin() + t * experts, noise.begin() + (t + 1) * experts);
      for (size_t e = 0; e < keys.size(); ++e) keys[e] -= 0.5 * static_cast<double>(e) / static_cast<double>(experts);
      for (const int32_t e : ref::top(keys, topk)) out.push_back(e);
    }
    return out;
  };
}
/// The same with some choices dropped.
Fill dropped_choice(int64_t topk, int64_t experts) {
  return [=](int64_t count, std::string_view seed) {
    std::vector<double> out = skewed_choice(topk, experts)(count, seed);
    for (size_t i = 0; i < out.size(); i += 3) out[i] = -1;
    return out;
  };
}
/// Few different values, zero among them: ties.
Fill coarse() {
  return [](int64_t count, std::string_view seed) {
    std::vector<double> out = integers(0, 4)(count, seed);
    for (double& value : out) value /= 4;
    return out;
  };
}

struct DropShape {
  std::string name;
  int64_t tokens, topk, experts, capacity;
  DropPolicy policy = DropPolicy::kProbs;
  DType dtype = DType::kF32;
  Fill probs = uniform(0.01, 1);
};

std::vector<DropShape> drop_shapes() {
  using enum DropPolicy;
  return {
      {"probs", 40, 2, 8, 7},
      {"probs_many_rows", 3000, 4, 33, 300},
      {"probs_f64", 40, 2, 8, 7, kProbs, DType::kF64},
      {"probs_ties_and_zeros", 60, 2, 5, 13, kProbs, DType::kF32, coarse()},
      {"probs_mostly_zeros", 60, 2, 5, 22, kProbs, DType::kF32, integers(0, 2)},
      {"probs_negative_too", 60, 2, 5, 40, kProbs, DType::kF32, integers(-2, 2)},
      {"position", 40, 2, 8, 7, kPosition},
      {"position_ties", 40, 3, 8, 9, kPosition, DType::kF32, coarse()},
      {"capacity_zero", 20, 2, 4, 0},
      {"capacity_zero_position", 20, 2, 4, 0, kPosition},
      {"capacity_is_t", 20, 2, 4, 20},
      {"capacity_beyond_t", 20, 2, 4, 21},
      {"every_expert", 7, 4, 4, 3},
      {"no_tokens", 0, 2, 4, 1},
  };
}

CheckedCase drop_case(const DropShape& shape) {
  const Shape choices{shape.tokens, shape.topk};
  CheckedCase checked;
  checked.op.name = shape.name;
  checked.op.input("chosen", DType::kI32, choices, skewed_choice(shape.topk, shape.experts))
      .output("kept", DType::kI32, choices, exact())
      .in_out("probs", shape.dtype, choices, shape.probs, exact());
  checked.op.run = [shape](const Stream& stream, const OpTensors& t) {
    router_drop(stream, {shape.policy, shape.capacity, shape.experts, t["chosen"], t["kept"], t["probs"], {}});
  };
  checked.reference = [shape](OpValues& v) {
    const std::vector<int32_t> chosen = v.as<int32_t>("chosen");
    std::vector<int32_t> kept(chosen.size());
    ref::router_drop<double>({shape.policy, shape.capacity, shape.tokens, shape.topk, shape.experts, chosen.data(),
                              kept.data(), v.data("probs")});
    v["kept"].assign(kept.begin(), kept.end());
  };
  return checked;
}

struct MapShape {
  std::string name;
  int64_t tokens, topk, experts;
};
const std::vector<MapShape> kMaps = {{"small", 7, 2, 5},     {"odd", 131, 3, 17},     {"every_expert", 6, 4, 4},
                                     {"no_tokens", 0, 2, 5}, {"one_expert", 9, 1, 1}, {"larger", 600, 4, 64}};

CheckedCase map_case(const MapShape& shape) {
  CheckedCase checked;
  checked.op.name = "map_" + shape.name;
  checked.op.input("experts", DType::kI32, {shape.tokens, shape.topk}, dropped_choice(shape.topk, shape.experts))
      .output("map", DType::kU8, {shape.tokens, shape.experts}, exact());
  checked.op.run = [](const Stream& stream, const OpTensors& t) { routing_map(stream, {t["experts"], t["map"]}); };
  checked.reference = [shape](OpValues& v) {
    const std::vector<int32_t> experts = v.as<int32_t>("experts");
    std::vector<uint8_t> map(v["map"].size());
    ref::routing_map(experts.data(), shape.tokens, shape.topk, shape.experts, map.data());
    v["map"].assign(map.begin(), map.end());
  };
  return checked;
}

CheckedCase pad_case(const MapShape& shape, MapPadding kind, int64_t amount) {
  CheckedCase checked;
  checked.op.name =
      fmt::format("pad_{}_{}_{}", shape.name, kind == MapPadding::kToMultiple ? "multiple" : "capacity", amount);
  const Fill map = [shape](int64_t, std::string_view seed) {
    // One column in five is empty.
    std::vector<double> out = integers(0, 2)(shape.tokens * shape.experts, seed);
    for (size_t i = 0; i < out.size(); i += static_cast<size_t>(shape.experts)) out[i] = 0;
    return out;
  };
  checked.op.in_out("map", DType::kU8, {shape.tokens, shape.experts}, map, exact());
  checked.op.run = [kind, amount](const Stream& stream, const OpTensors& t) {
    pad_routing_map(stream, {kind, amount, t["map"]});
  };
  checked.reference = [shape, kind, amount](OpValues& v) {
    std::vector<uint8_t> cells = v.as<uint8_t>("map");
    ref::pad_routing_map(kind, amount, shape.tokens, shape.experts, cells.data());
    v["map"].assign(cells.begin(), cells.end());
  };
  return checked;
}

CheckedCase count_case(const MapShape& shape, DType dtype, bool with_padding, bool from_map) {
  CheckedCase checked;
  checked.op.name =
      fmt::format("count{}_{}_{}{}", from_map ? "_map" : "", shape.name, dtype_name(dtype), with_padding ? "_pad" : "");
  const Shape map{shape.tokens, shape.experts};
  if (from_map) {
    checked.op.input("map", DType::kU8, map, integers(0, 2));
  } else {
    checked.op.input("experts", DType::kI32, {shape.tokens, shape.topk}, dropped_choice(shape.topk, shape.experts));
  }
  if (with_padding) checked.op.input("padding", DType::kU8, {shape.tokens}, integers(0, 2));
  checked.op.in_out("counts", dtype, {shape.experts}, integers(0, 9), exact());
  checked.op.run = [from_map](const Stream& stream, const OpTensors& t) {
    if (from_map) {
      count_map(stream, {t["map"], t.optional("padding"), t["counts"]});
    } else {
      count_choices(stream, {t["experts"], t.optional("padding"), t["counts"]});
    }
  };
  checked.reference = [shape, from_map](OpValues& v) {
    std::vector<uint8_t> cells(static_cast<size_t>(shape.tokens * shape.experts));
    if (from_map) {
      cells = v.as<uint8_t>("map");
    } else {
      const std::vector<int32_t> experts = v.as<int32_t>("experts");
      ref::routing_map(experts.data(), shape.tokens, shape.topk, shape.experts, cells.data());
    }
    for (size_t i = 0; i < cells.size(); ++i)
      if (!v.has("padding") || v["padding"][i / static_cast<size_t>(shape.experts)] == 0)
        v["counts"][i % static_cast<size_t>(shape.experts)] += cells[i];
  };
  return checked;
}

std::vector<CheckedCase> checks() {
  std::vector<CheckedCase> out;
  for (const DropShape& shape : drop_shapes()) out.push_back(drop_case(shape));
  for (const MapShape& shape : kMaps) {
    out.push_back(map_case(shape));
    for (const int64_t amount : {1, 16, 32}) out.push_back(pad_case(shape, MapPadding::kToMultiple, amount));
    for (const int64_t amount : {0, 4, 1000}) out.push_back(pad_case(shape, MapPadding::kToCapacity, amount));
    for (const DType dtype : {DType::kF32, DType::kF64}) {
      out.push_back(count_case(shape, dtype, false, false));
      out.push_back(count_case(shape, dtype, true, false));
      out.push_back(count_case(shape, dtype, false, true));
      out.push_back(count_case(shape, dtype, true, true));
    }
  }
  return out;
}

INSTANTIATE_TEST_SUITE_P(RouterCapacity, OpCheck, ::testing::ValuesIn(checks()), case_name);

TEST(ExpertCapacity, RoundsAsDoubleDoes) {
  EXPECT_EQ(expert_capacity(25, 2, 3, 0.9), 16);  // 50/3 * 0.9 is a hair above 15
  EXPECT_EQ(expert_capacity(25, 2, 5, 1.1), 11);  // 10 * 1.1 is 11.000000000000002 only if multiplied first
  EXPECT_EQ(expert_capacity(16, 2, 8, 1.0), 4);
  EXPECT_EQ(expert_capacity(16, 2, 8, 0.0), 0);
  EXPECT_EQ(expert_capacity(0, 2, 8, 2.0), 0);
}

}  // namespace
}  // namespace conclave::kernels
