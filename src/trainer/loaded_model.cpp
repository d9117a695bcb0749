#include "trainer/loaded_model.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/directory.h"
#include "config/options_text.h"
#include "config/validate.h"
#include "trainer/hf_model.h"
#include "trainer/run_data.h"
#include "trainer/run_state.h"

namespace conclave {

namespace {

// The groups of this rank, and of passes that its command makes.
void lay_out(LoadedModel& model, Command command, World& world) {
  // Text is generated one position at a time, which nobody can share out.
  if (command == Command::kGenerate) model.options.parallel.sequence_parallel = false;
  CONCLAVE_USER_CHECK(command != Command::kGenerate || model.options.parallel.context_parallel_size == 1,
                      "text is generated without --context-parallel-size; got {}; drop it",
                      model.options.parallel.context_parallel_size);
  model.groups = make_job_groups(model.options, world);
}

LoadedModel open_hugging_face(ParsedOptions parsed, Command command, World& world) {
  const HuggingFaceWeights weights(*parsed.options.checkpoint.load_hf);
  for (const std::string& line : take_hugging_face(parsed, weights)) log_info("{}", line);
  constexpr int64_t kLongest = 2048;
  if (parsed.options.model.seq_length == 0)
    parsed.options.model.seq_length = std::min(parsed.options.model.max_position_embeddings, kLongest);
  LoadedModel model;
  model.options = checked_options(parsed, command);
  lay_out(model, command, world);
  model.device = make_device(model.options.device.device);
  model.tokenizer = make_run_tokenizer(model.options.tokenizer, 0);
  model.engine = std::make_unique<Engine>(model.options, weights.spec().vocab, *model.device, false, *model.groups);
  load_engine(*model.engine, weights);
  return model;
}

}  // namespace

LoadedModel load_model(ParsedOptions parsed, Command command, World& world) {
  const CheckpointOptions& checkpoint = parsed.options.checkpoint;
  if (checkpoint.load_hf && !checkpoint.load) return open_hugging_face(std::move(parsed), command, world);
  if (!checkpoint.load) throw UsageError("which model? give --load DIR, a run directory or a checkpoint in it");
  const auto found = find_checkpoint(*checkpoint.load, checkpoint.ckpt_step);
  CONCLAVE_USER_CHECK(found.has_value(),
                      "--load {}: there is no checkpoint; give the --save directory of a run, or a checkpoint in it",
                      *checkpoint.load);
  const CheckpointReader reader(found->directory);
  const Json* saved = reader.state().find("options");
  CONCLAVE_USER_CHECK(saved != nullptr, "checkpoint '{}' holds no options; it was not written by `conclave train`",
                      reader.directory());
  for (const std::string& line : take_architecture(parsed, *saved)) log_info("{}", line);
  LoadedModel model;
  // Not part of the weights, but the length that the model was trained for is the natural one to use it at.
  if (parsed.options.model.seq_length == 0) parsed.options.model.seq_length = saved->at("seq-length").as_int();
  model.options = checked_options(parsed, command);
  model.iteration = reader.iteration();
  lay_out(model, command, world);
  model.device = make_device(model.options.device.device);
  model.tokenizer = make_run_tokenizer(model.options.tokenizer, model.options.model.vocab_size);
  const int64_t vocab = reader.state().at("vocab_size").as_int();
  CONCLAVE_USER_CHECK(
      model.tokenizer == nullptr || model.tokenizer->vocab_size() <= vocab,
      "the tokenizer has {} tokens, the model was trained with {}; give the tokenizer that it was trained with",
      model.tokenizer->vocab_size(), vocab);
  model.engine = std::make_unique<Engine>(model.options, vocab, *model.device, false, *model.groups);
  load_engine(*model.engine, reader.directory(), false, world.all());
  return model;
}

}  // namespace conclave
