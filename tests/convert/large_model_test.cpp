// A model far larger than what a conversion may hold in memory: a sparse file of 0.3 GB, with CONCLAVE_TEST_FULL=1 of
// 20 GB.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/clock.h"
#include "base/log.h"
#include "comm/communicator.h"
#include "convert/hf_checkpoint.h"
#include "convert/hf_export.h"
#include "convert/hf_files.h"

namespace conclave {
namespace {

struct SparseModel {
  int64_t bytes = 0;
  int64_t largest = 0;  ///< bytes of its largest tensor
};

std::string mixtral_config(int64_t layers) {
  return R"({"model_type": "mixtral", "hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 16,
    "num_key_value_heads": 4, "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000, "hidden_act": "silu",
    "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "sliding_window": null,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "num_hidden_layers": )" +
         std::to_string(layers) + "}";
}

// Zeros that take no room on the disk; the last two bytes of each tensor are not zero.
SparseModel make_sparse(const std::string& directory, int64_t layers) {
  const std::string text = mixtral_config(layers);
  write_file_atomically(directory + "/config.json", text);
  const HuggingFaceModel model = read_hugging_face_config(Json::parse(text, "config"), "config");
  const Options options = options_of_model(model.options);
  const ModelSpec spec = make_model_spec(options, options.model.vocab_size);
  SparseModel made;
  std::vector<SafetensorsItem> items;
  std::vector<int64_t> ends;
  for (const TensorPlace& place : tensor_places(spec, model.family->names, ExpertForm::kSeparate)) {
    if (place.may_be_absent) continue;
    items.push_back({place.name, DType::kBF16, place.shape});
    int64_t bytes = dtype_size(DType::kBF16);
    for (const int64_t size : place.shape) bytes *= size;
    made.largest = std::max(made.largest, bytes);
    ends.push_back(made.bytes += bytes);
  }
  const std::string header = safetensors_header(items);
  OutputFile file(directory + "/model.safetensors");
  file.write(header);
  for (size_t i = 0; i < ends.size(); ++i) {
    const BF16 mark = to_bf16(static_cast<float>(i % 200 + 1));
    file.write_at(static_cast<int64_t>(header.size()) + ends[i] - 2, std::as_bytes(std::span(&mark, 1)));
  }
  file.close();
  return made;
}

// The peak resident set in bytes of a process that does `work` alone; -1 if it fails.
template <typename Work>
int64_t peak_of(const Work& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      work();
      std::_Exit(0);
    } catch (const std::exception& error) {
      log_warning("{}", error.what());
      std::_Exit(1);
    }
  }
  int status = 0;
  struct rusage used = {};
  if (::wait4(child, &status, 0, &used) != child || status != 0) return -1;
  return int64_t{used.ru_maxrss} << 10;
}

void import_to(const std::string& from, const std::string& to) {
  const auto device = make_device("cpu");
  const auto world = make_self_communicator("world");
  import_hugging_face(HuggingFaceWeights(from), to, *world, device->default_stream());
}

TEST(LargeModel, GoesInAndOutInBoundedMemory) {
  const bool full = std::getenv("CONCLAVE_TEST_FULL") != nullptr;
  const ScratchFolder scratch;
  const auto room = static_cast<int64_t>(fs::space(scratch.path()).available);
  if (room < (full ? int64_t{46} << 30 : int64_t{3} << 30))
    GTEST_SKIP() << "only " << room << " bytes are free in " << scratch.path();
  fs::create_directories(scratch / "sparse");
  const SparseModel model = make_sparse(scratch / "sparse", full ? 35 : 1);
  EXPECT_GT(model.bytes, 4 * model.largest) << "a model that is held whole must be seen";
  if (full) {
    EXPECT_GE(model.bytes, int64_t{20} * 1000 * 1000 * 1000);
  }
  const Stopwatch import;
  const int64_t in = peak_of([&] { import_to(scratch / "sparse", scratch / "run"); });
  const double import_seconds = import.seconds();
  const Stopwatch back;
  const int64_t out = peak_of([&] {
    export_hugging_face(CheckpointReader(find_checkpoint(scratch / "run")->directory), {.output = scratch / "out"});
  });
  const double export_seconds = back.seconds();
  std::printf("%.2f GB, largest tensor %.1f MB: import %.1f s, peak %.1f MB; export %.1f s, peak %.1f MB\n",
              static_cast<double>(model.bytes) / 1e9, static_cast<double>(model.largest) / 1e6, import_seconds,
              static_cast<double>(in) / 1e6, export_seconds, static_cast<double>(out) / 1e6);
  EXPECT_GT(in, 0);
  EXPECT_GT(out, 0);
  EXPECT_LT(in, 4 * model.largest);
  EXPECT_LT(out, 4 * model.largest);
  const HuggingFaceDirectory before(scratch / "sparse"), after(scratch / "out");
  ASSERT_EQ(after.weights().size(), before.weights().size());
  for (const auto& [name, weight] : before.weights()) {
    const StoredWeight* found = after.find(name);
    ASSERT_NE(found, nullptr) << name;
    // All of it in the short form, the end of it in the full one.
    const int64_t count = weight.element_count(), begin = full ? count - 1 : 0;
    std::vector<std::byte> want(static_cast<size_t>(2 * (count - begin))), got(want.size());
    before.read(weight, begin, want);
    after.read(*found, begin, got);
    EXPECT_TRUE(want == got) << name;
  }
}

}  // namespace
}  // namespace conclave
