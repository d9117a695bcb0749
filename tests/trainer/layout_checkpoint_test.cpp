// Checkpoints of one layout's store loaded by another's: weights, buffers and optimizer states.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/file.h"
#include "checkpoint/loader.h"
#include "checkpoint/reader.h"
#include "checkpoint/writer.h"
#include "comm/world.h"
#include "optim/synthetic_parameters.h"
#include "optim/training_store.h"

namespace conclave {
namespace {

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "layouts.XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() { remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct SavedLayout {
  LayoutSizes sizes;
  StoreConfig config;
  bool sequence_parallel = false;

  std::string text() const {
    return fmt::format("world {} tp {} cp {} pp {} ep {} etp {} instances {} {}", sizes.world, sizes.tensor,
                       sizes.context, sizes.pipeline, sizes.expert, sizes.expert_tensor, sizes.optimizer_instances,
                       config.sharded ? "zero1" : "plain");
  }
};

constexpr bool kTied = true;

// One rank of a layout, with a store of the synthetic model.
class Trainer {
 public:
  Trainer(const SavedLayout& layout, World& world, uint64_t seed)
      : world_(world),
        device_(make_device("cpu")),
        groups_(RankLayout(layout.sizes), world, layout.sequence_parallel),
        part_({.tied = kTied}, groups_),
        store_(make_training_store({.device = *device_,
                                    .compute_dtype = DType::kBF16,
                                    .optimizer = &adam_,
                                    .config = layout.config,
                                    .groups = groups_})) {
    part_.declare(*store_);
    store_->allocate(seed);
    for (const BufferSpec& buffer : store_->buffers()) {
      float* values = store_->buffer(buffer.name).data<float>();
      for (int64_t i = 0; i < buffer.shape[0]; ++i) values[i] = static_cast<float>(seed) + static_cast<float>(i);
    }
  }

  void train(int64_t first, int64_t last, cases::Numbers numbers = cases::Numbers::kExact) {
    const Stream stream = device_->default_stream();
    for (int64_t step = first; step <= last; ++step) {
      store_->begin_step(stream, cases::kBatches);
      part_.add_gradients(*store_, step, numbers);
      store_->finalize_gradients(stream, 1);
      store_->update(stream, {.lr = 1e-2, .decoupled_lr = 1e-3, .weight_decay = 0.1, .step = step},
                     store_->clip(stream, 1).scale);
    }
  }

  void save(const std::string& run, int64_t iteration) {
    CheckpointWriterSettings settings;
    settings.run_directory = run;
    CheckpointWriter writer(settings, world_.all(), device_->default_stream());
    std::vector<CheckpointTensor> tensors;
    for (const StateTensor& state : store_->owned_state())
      tensors.push_back(CheckpointTensor::sharded(state.name, state.shard, state.tensor));
    writer.save(iteration, tensors, Json::object());
    writer.finish();
  }

  void load(const std::string& directory) {
    std::vector<CheckpointTensor> wanted;
    for (const StateTensor& state : store_->state())
      wanted.push_back(CheckpointTensor::sharded(state.name, state.shard, state.tensor));
    load_checkpoint({.directory = directory,
                     .wanted = wanted,
                     .may_be_left = [](const std::string&) { return false; },
                     .world = world_.all(),
                     .stream = device_->default_stream()});
    store_->weights_changed(device_->default_stream());
  }

 private:
  World& world_;
  OptimizerConfig adam_;
  std::unique_ptr<Device> device_;
  ProcessGroups groups_;
  cases::SyntheticPart part_;
  std::unique_ptr<TrainingStore> store_;
};

void on_ranks(const SavedLayout& layout, const std::function<void(World&)>& work) {
  run_ranks_as_threads({.ranks = layout.sizes.world, .settings = {.timeout_seconds = 60}}, work);
}

// Same tensors with the same bytes, whatever the boxes.
std::string difference(const std::string& a_directory, const std::string& b_directory) {
  const CheckpointReader a(a_directory), b(b_directory);
  if (a.tensors().size() != b.tensors().size()) return "another number of tensors";
  if (!a.verify().empty() || !b.verify().empty()) return "damage";
  if (a.tensor_bytes() != b.tensor_bytes()) return "bytes are written twice or never";
  for (const StoredTensor& tensor : a.tensors()) {
    std::vector<std::byte> first(static_cast<size_t>(tensor.bytes())), second(first.size());
    a.read(tensor.name, ShardSpec::whole(tensor.shape), first);
    b.read(tensor.name, ShardSpec::whole(tensor.shape), second);
    if (first != second) return tensor.name;
  }
  return "";
}

SavedLayout random_layout(std::mt19937& random) {
  const auto pick = [&](std::vector<int64_t> values) {
    return values[std::uniform_int_distribution<size_t>(0, values.size() - 1)(random)];
  };
  while (true) {
    SavedLayout layout;
    layout.sizes = {.world = pick({1, 2, 3, 4, 6, 8}),
                    .tensor = pick({1, 1, 2, 4}),
                    .context = pick({1, 1, 2}),
                    .pipeline = pick({1, 1, 2, 3}),
                    .expert = pick({1, 2, 3, 4}),
                    .expert_tensor = pick({1, 1, 2}),
                    .optimizer_instances = pick({1, 1, 2})};
    layout.config = {.sharded = pick({0, 1}) == 1, .bucket_elements = pick({500, 3000, 0})};
    layout.sequence_parallel = layout.sizes.tensor > 1;
    const int64_t dense = layout.sizes.tensor * layout.sizes.context * layout.sizes.pipeline;
    const int64_t expert = layout.sizes.expert * layout.sizes.expert_tensor * layout.sizes.pipeline;
    if (layout.sizes.world % dense != 0 || layout.sizes.world % expert != 0) continue;
    const int64_t copies = layout.sizes.optimizer_instances;
    const int64_t data = layout.sizes.world / dense * layout.sizes.context;
    if (data % copies != 0 || layout.sizes.world / expert % copies != 0) continue;
    return layout;
  }
}

// Trains two steps under one layout and saves, loads under another and saves again: the same bytes. One more step under
// the second is that step of the first.
TEST(LayoutCheckpoint, TwentyRandomPairs) {
  std::mt19937 random(2026);
  for (int pair = 0; pair < 20; ++pair) {
    const SavedLayout first = random_layout(random), second = random_layout(random);
    SCOPED_TRACE(first.text() + " -> " + second.text());
    const Folder folder;
    on_ranks(first, [&](World& world) {
      Trainer trainer(first, world, 1);
      trainer.train(1, 2);
      trainer.save(folder.path() + "/a", 2);
      trainer.train(3, 3);
      trainer.save(folder.path() + "/a", 3);
    });
    on_ranks(second, [&](World& world) {
      Trainer trainer(second, world, 7);
      trainer.load(folder.path() + "/a/iter_0000002");
      trainer.save(folder.path() + "/b", 2);
      trainer.train(3, 3);
      trainer.save(folder.path() + "/b", 3);
    });
    EXPECT_EQ(difference(folder.path() + "/a/iter_0000002", folder.path() + "/b/iter_0000002"), "");
    EXPECT_EQ(difference(folder.path() + "/a/iter_0000003", folder.path() + "/b/iter_0000003"), "");
  }
}

// Under the same layout resuming changes no bit of ordinary numbers either, whose sums depend on their order.
TEST(LayoutCheckpoint, StopAndResume) {
  for (const bool sharded : {false, true}) {
    SavedLayout layout;
    layout.sizes = {.world = 8, .tensor = 2, .pipeline = 2, .expert = 2, .expert_tensor = 1, .optimizer_instances = 2};
    layout.config = {
        .sharded = sharded, .bucket_elements = 700, .overlap_grad_reduce = true, .overlap_param_gather = sharded};
    layout.sequence_parallel = true;
    const Folder folder;
    on_ranks(layout, [&](World& world) {
      Trainer trainer(layout, world, 1);
      trainer.train(1, 2, cases::Numbers::kRounded);
      trainer.save(folder.path() + "/a", 2);
      trainer.train(3, 4, cases::Numbers::kRounded);
      trainer.save(folder.path() + "/a", 4);
    });
    on_ranks(layout, [&](World& world) {
      Trainer trainer(layout, world, 7);
      trainer.load(folder.path() + "/a/iter_0000002");
      trainer.train(3, 4, cases::Numbers::kRounded);
      trainer.save(folder.path() + "/b", 4);
    });
    EXPECT_EQ(difference(folder.path() + "/a/iter_0000004", folder.path() + "/b/iter_0000004"), "");
  }
}

// Every rank writes about its share: nothing goes through one rank, replicas included.
TEST(LayoutCheckpoint, RanksShareTheWriting) {
  for (const bool sharded : {false, true}) {
    SavedLayout layout;
    layout.sizes.world = 4;
    layout.sizes.expert = 2;
    layout.config = {.sharded = sharded};
    const Folder folder;
    on_ranks(layout, [&](World& world) { Trainer(layout, world, 1).save(folder.path(), 1); });
    const CheckpointReader reader(folder.path() + "/iter_0000001");
    for (int64_t rank = 0; rank < 4; ++rank) {
      const auto bytes = static_cast<int64_t>(
          std::filesystem::file_size(fmt::format("{}/rank_{:05}.safetensors", reader.directory(), rank)));
      EXPECT_NEAR(static_cast<double>(bytes), static_cast<double>(reader.tensor_bytes()) / 4,
                  static_cast<double>(reader.tensor_bytes()) / 20)
          << rank;
    }
  }
}

}  // namespace
}  // namespace conclave
