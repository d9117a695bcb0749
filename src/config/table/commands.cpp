// The device, and options of single commands.
#include "config/table/rows.h"

namespace conclave {
namespace {

void add_device(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kDevice;
  CONCLAVE_OPTION(device, device, "cpu; cuda, the default of the CUDA build; sim: shapes only, for memory and FLOPs.")
      .one_of({"cpu", "cuda", "sim"});
  CONCLAVE_OPTION(device, threads, "CPU threads; 0: as many as cores may be used.").at_least(0);
}

void add_preprocess(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kPreprocess;
  CONCLAVE_OPTION(preprocess, input, "Text or JSONL files, also .gz and .zst.").keep_whole();
  CONCLAVE_OPTION(preprocess, output_prefix, "The result is PREFIX_KEY_document.bin and .idx.");
  CONCLAVE_OPTION(preprocess, json_keys, "Fields of a JSONL line that hold text.");
  CONCLAVE_OPTION(preprocess, append_eod, "An end-of-document token after each document.");
  CONCLAVE_OPTION(preprocess, workers, "Threads; 0: as many as cores may be used.").at_least(0);
  CONCLAVE_OPTION(preprocess, text_documents,
                  "What a document of plain text is: a paragraph with the blank lines after it, a line, a whole file.")
      .one_of({"paragraph", "line", "file"});
  CONCLAVE_OPTION(preprocess, add_special_tokens, "The tokenizer's own start and end tokens around each text.");
  CONCLAVE_OPTION(preprocess, skip_bad_lines, "Count lines that cannot be read instead of stopping.");
}

void add_generate(OptionRows& rows) {
  constexpr OptionGroup group = OptionGroup::kGenerate;
  CONCLAVE_OPTION(generate, prompt, "Text to continue; several: one sequence each.").keep_whole();
  CONCLAVE_OPTION(generate, prompt_file, "A file whose text is continued.");
  CONCLAVE_OPTION(generate, interactive, "Ask for prompts.");
  CONCLAVE_OPTION(generate, max_new_tokens, "Most tokens to add.").at_least(0);
  CONCLAVE_OPTION(generate, num_samples, "Continuations of each prompt.").at_least(1);
  CONCLAVE_OPTION(generate, greedy, "Always the likeliest token.");
  CONCLAVE_OPTION(generate, temperature, "Logits are divided by this.").at_least(0);
  CONCLAVE_OPTION(generate, top_k, "Only the K likeliest tokens; 0: all.").at_least(0);
  CONCLAVE_OPTION(generate, top_p, "Only the likeliest tokens that make up this probability; 0: all.").between(0, 1);
  CONCLAVE_OPTION(generate, ignore_eod, "Go on after an end of document.");
  CONCLAVE_OPTION(generate, stream, "Print tokens as they come.");
}

void add_other_commands(OptionRows& rows) {
  OptionGroup group = OptionGroup::kEval;
  CONCLAVE_OPTION(eval, text_file, "Plain text to measure.").keep_whole();
  CONCLAVE_OPTION(eval, split_name, "Measure this split only. Default: everything.").one_of({"train", "valid", "test"});
  group = OptionGroup::kInspect;
  CONCLAVE_OPTION(inspect, iteration, "Show the documents that this step saw.").at_least(1);
  CONCLAVE_OPTION(inspect, verify, "Check every checksum.");
  CONCLAVE_OPTION(inspect, diff, "Compare with this checkpoint, tensor by tensor.");
  group = OptionGroup::kConvert;
  CONCLAVE_OPTION(convert, from, "What --input is.").one_of({"hf", "conclave"});
  CONCLAVE_OPTION(convert, to, "What --output becomes.").one_of({"hf", "conclave"});
  CONCLAVE_OPTION(convert, output, "Directory to make; it must not be there yet, or be empty.");
  CONCLAVE_OPTION(convert, max_shard_size, "Hugging Face: bytes of one weight file; a tensor is never split.")
      .at_least(1);
  CONCLAVE_OPTION(convert, fused_experts, "Hugging Face: the experts of a layer as two tensors instead of many.");
  CONCLAVE_OPTION(
      convert, hf_model_type,
      "Hugging Face: the model's type. Default: what it was imported from, or the first that can express it.")
      .one_of(
          {"llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3"});
  CONCLAVE_OPTION(convert, hf_dtype, "Hugging Face: dtype of the weights. Default: as imported, else the training's.")
      .one_of({"f32", "bf16", "f16"});
  group = OptionGroup::kParity;
  CONCLAVE_OPTION(parity, hf, "Hugging Face model to run.");
  CONCLAVE_OPTION(parity, reference, "Safetensors file with input_ids, labels, logits, loss and grad.NAME.");
  CONCLAVE_OPTION(parity, print, "Print every tensor, or the worst ones.").one_of({"all", "worst"});
  group = OptionGroup::kBench;
  CONCLAVE_OPTION(bench, json, "Answer in JSON.");
  CONCLAVE_OPTION(bench, dtype, "Measure this dtype only.").one_of({"f32", "bf16", "f16", "fp32"});
  CONCLAVE_OPTION(bench, trace, "step: the ops of one step with their times, as a Chrome trace in this file.");
  CONCLAVE_OPTION(bench, min_seconds, "Time spent on one case.").above(0);
  group = OptionGroup::kPlan;
  CONCLAVE_OPTION(plan, draw, "Draw the pipeline: what each rank holds, and does when.");
  CONCLAVE_OPTION(plan, draw_format, "Draw as text or as an SVG document.").one_of({"text", "svg"});
}

}  // namespace

void add_command_rows(OptionRows& rows) {
  add_device(rows);
  add_preprocess(rows);
  add_generate(rows);
  add_other_commands(rows);
}

}  // namespace conclave
