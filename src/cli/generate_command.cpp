#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/command_options.h"
#include "trainer/generation.h"
#include "trainer/loaded_model.h"

namespace conclave {
namespace {

// One rank speaks for all.
void print(const LoadedModel& model, const std::string& text) {
  if (model.groups->rank() != 0) return;
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// One continuation, printed as it comes (or whole, with --no-stream).
void continue_prompt(LoadedModel& model, const std::string& prompt, uint64_t sample) {
  const GenerateOptions& options = model.options.generate;
  GenerationRequest request;
  const Tokenizer& tokenizer = *model.tokenizer;
  request.prompt = model.options.tokenizer.tokenizer_hf_no_include_special_tokens
                       ? tokenizer.encode(prompt)
                       : tokenizer.encode_with_special(prompt);
  if (request.prompt.empty() && model.tokenizer->eod()) request.prompt.push_back(*model.tokenizer->eod());
  request.max_new_tokens = options.max_new_tokens;
  if (!options.ignore_eod) request.stop_token = model.tokenizer->eod();
  request.sampling = {.greedy = options.greedy,
                      .temperature = options.temperature,
                      .top_k = options.top_k,
                      .top_p = options.top_p,
                      .seed = static_cast<uint64_t>(model.options.training.seed)};
  request.sample = sample;
  StreamDecoder decoder(*model.tokenizer);
  std::string text;
  const auto add = [&](const std::string& piece) {
    if (options.stream) {
      print(model, piece);
    } else {
      text += piece;
    }
  };
  if (options.stream) print(model, prompt);
  request.on_token = [&](int32_t token) {
    add(decoder.push(token));
    return true;
  };
  const GenerationResult result = generate(*model.engine, request);
  add(decoder.finish());
  print(model, options.stream ? "\n" : prompt + text + "\n");
  const auto count = static_cast<double>(result.tokens.size());
  log_info("{} tokens, {:.1f} tokens/s (prompt of {} in {:.2f} s)", result.tokens.size(),
           count / std::max(result.token_seconds, 1e-9), request.prompt.size(), result.prompt_seconds);
}

void continue_all(LoadedModel& model, const std::string& prompt) {
  const int64_t samples = model.options.generate.num_samples;
  for (int64_t i = 0; i < samples; ++i) {
    if (samples > 1) print(model, fmt::format("--- {} of {} ---\n", i + 1, samples));
    continue_prompt(model, prompt, static_cast<uint64_t>(i));
  }
}

// The next line of standard input, which one rank reads for all; nothing at its end.
std::optional<std::string> next_line(LoadedModel& model) {
  std::string line;
  int64_t length = -1;
  if (model.groups->rank() == 0 && std::getline(std::cin, line)) length = static_cast<int64_t>(line.size());
  Communicator& all = model.groups->world().all();
  if (all.size() == 1) return length < 0 ? std::nullopt : std::optional(line);
  const Stream stream = model.device->default_stream();
  const MemoryTag tag{MemoryCategory::kWorkspace, "prompt"};
  const Tensor size = from_host<int64_t>(*model.device, {1}, std::vector<int64_t>{length}, tag);
  all.broadcast(stream, size, 0, "length of the prompt");
  length = to_host<int64_t>(stream, size)[0];
  if (length < 0) return std::nullopt;
  line.resize(static_cast<size_t>(length));
  const Tensor text = from_host<uint8_t>(*model.device, {length}, std::vector<uint8_t>(line.begin(), line.end()), tag);
  all.broadcast(stream, text, 0, "prompt");
  const std::vector<uint8_t> bytes = to_host<uint8_t>(stream, text);
  return std::string(bytes.begin(), bytes.end());
}

void converse(LoadedModel& model) {
  const bool terminal = ::isatty(STDIN_FILENO) != 0;
  while (true) {
    if (terminal) print(model, "> ");
    const std::optional<std::string> line = next_line(model);
    if (!line) return;
    if (!line->empty()) continue_all(model, *line);
  }
}

int generate_all(World& world, const ParsedOptions& parsed) {
  LoadedModel model = load_model(parsed, Command::kGenerate, world);
  if (model.tokenizer == nullptr)
    throw UserError("the checkpoint names no tokenizer; give --tokenizer-type and --tokenizer-model");
  const GenerateOptions& options = model.options.generate;
  std::vector<std::string> prompts = options.prompt;
  if (options.prompt_file) prompts.push_back(read_file(*options.prompt_file));
  for (const std::string& prompt : prompts) continue_all(model, prompt);
  if (options.interactive || prompts.empty()) converse(model);
  return 0;
}

}  // namespace

int generate_command(const Words& words) { return run_job(command_options(Command::kGenerate, words), generate_all); }

}  // namespace conclave
