#include "base/text.h"
#include "config/option_value.h"
#include "config/rules/rules.h"

namespace conclave {
namespace {

void check_sources(Rules& rules) {
  const DataOptions& data = rules.raw.data;
  std::vector<std::string> sources;
  if (data.mock_data) sources.push_back("--mock-data");
  if (!data.data_path.empty()) sources.push_back("--data-path");
  if (data.data_args_path) sources.push_back("--data-args-path");
  if (data.per_split_data_args_path) sources.push_back("--per-split-data-args-path");
  const bool per_split = !data.train_data_path.empty() || !data.valid_data_path.empty() || !data.test_data_path.empty();
  if (per_split) sources.push_back("--train-data-path and its like");
  rules.refuse(sources.size() > 1, "training reads one source of data; got {}; keep one", join(sources, " and "));
  rules.refuse(data.split && (per_split || data.per_split_data_args_path),
               "--split divides --data-path; got paths for each split as well; drop --split");
  rules.refuse(rules.command == Command::kTrain && rules.raw.device.device != "sim" && sources.empty(),
               "training needs data; no source is given; add --data-path PREFIX or --mock-data");
}

void check_split(Rules& rules) {
  const auto& text = rules.raw.data.split;
  if (!text) return;
  const std::vector<std::string> pieces = list_pieces(*text);
  double total = 0;
  bool fine = !pieces.empty() && pieces.size() <= 3;
  for (const std::string& piece : pieces) {
    const auto share = parse_finite(piece);
    fine = fine && share && *share >= 0;
    total += share.value_or(0);
  }
  rules.refuse(!fine || total <= 0,
               "--split takes up to three shares, none negative, not all 0; got '{}'; write 969,30,1", *text);
}

void check_tokenizer(Rules& rules) {
  const TokenizerOptions& tokenizer = rules.raw.tokenizer;
  if (!tokenizer.tokenizer_type) {
    rules.refuse(tokenizer.tokenizer_model.has_value(),
                 "--tokenizer-model needs --tokenizer-type; it is not given; add it");
    return;
  }
  const std::string& type = *tokenizer.tokenizer_type;
  const bool self_contained = type == "NullTokenizer" || type == "ByteTokenizer";
  rules.refuse(type == "NullTokenizer" && rules.raw.model.vocab_size == 0,
               "--tokenizer-type NullTokenizer needs --vocab-size; it is not given; add it");
  const bool two_files = type == "GPT2BPETokenizer";
  rules.refuse(two_files && (!tokenizer.vocab_file || !tokenizer.merge_file),
               "--tokenizer-type GPT2BPETokenizer needs --vocab-file and --merge-file; one is not given; add both");
  rules.refuse(!self_contained && !two_files && !tokenizer.tokenizer_model,
               "--tokenizer-type {} needs --tokenizer-model; it is not given; add its file or folder", type);
}

void check_generate(Rules& rules) {
  const GenerateOptions& generate = rules.raw.generate;
  rules.refuse(!rules.raw.checkpoint.load && !rules.raw.checkpoint.load_hf,
               "`conclave generate` needs a model; --load is not given; add --load DIR");
  rules.refuse(!generate.prompt.empty() && generate.prompt_file,
               "--prompt and --prompt-file exclude each other; both are given; drop one");
  rules.refuse(generate.interactive && (!generate.prompt.empty() || generate.prompt_file),
               "--interactive asks for prompts; got a prompt as well; drop one of them");
  rules.refuse(generate.greedy && (generate.top_k > 0 || generate.top_p > 0),
               "--greedy always takes the likeliest token; got --top-k {} and --top-p {}; drop one side",
               generate.top_k, generate.top_p);
}

void check_convert(Rules& rules) {
  const ConvertOptions& convert = rules.raw.convert;
  rules.refuse(!convert.from || !convert.to,
               "`conclave convert` needs to know both forms; --from and --to are not both given; add --from hf --to "
               "conclave, or the other way");
  rules.refuse(rules.raw.preprocess.input.size() != 1, "`conclave convert` takes one --input DIR; got {}",
               rules.raw.preprocess.input.size());
  rules.refuse(!convert.output, "`conclave convert` needs --output; it is not given; add --output DIR");
  rules.refuse(
      convert.to.value_or("hf") != "hf" && (convert.fused_experts || convert.hf_model_type || convert.hf_dtype),
      "--fused-experts, --hf-model-type and --hf-dtype are for --to hf; got --to {}; leave them out",
      convert.to.value_or(""));
}

void check_upcycle(Rules& rules) {
  const CheckpointOptions& checkpoint = rules.raw.checkpoint;
  rules.refuse(!checkpoint.load && !checkpoint.load_hf,
               "`conclave upcycle` needs a dense model; neither --load nor --load-hf is given; add one");
  rules.refuse(checkpoint.load && checkpoint.load_hf,
               "`conclave upcycle` takes one dense model; got --load and --load-hf; drop one");
  rules.refuse(!checkpoint.save, "`conclave upcycle` needs --save; it is not given; add --save DIR");
  rules.refuse(rules.raw.moe.num_experts == 0,
               "`conclave upcycle` makes experts; --num-experts is not given; add --num-experts E");
}

}  // namespace

void check_data_rules(Rules& rules) {
  check_sources(rules);
  check_split(rules);
  check_tokenizer(rules);
}

void check_command_rules(Rules& rules) {
  switch (rules.command) {
    case Command::kGenerate:
      check_generate(rules);
      break;
    case Command::kEval:
      rules.refuse(!rules.raw.checkpoint.load && !rules.raw.checkpoint.load_hf,
                   "`conclave eval` needs a model; --load is not given; add --load DIR");
      rules.refuse(rules.raw.data.data_path.empty() && rules.raw.eval.text_file.empty(),
                   "`conclave eval` needs data; neither --data-path nor --text-file is given; add one");
      break;
    case Command::kPreprocess:
      rules.refuse(rules.raw.preprocess.input.empty(),
                   "`conclave preprocess` needs --input; it is not given; add --input FILES");
      rules.refuse(!rules.raw.preprocess.output_prefix,
                   "`conclave preprocess` needs --output-prefix; it is not given; add --output-prefix PREFIX");
      rules.refuse(!rules.raw.tokenizer.tokenizer_type,
                   "`conclave preprocess` needs --tokenizer-type; it is not given; add it");
      break;
    case Command::kConvert:
      check_convert(rules);
      break;
    case Command::kUpcycle:
      check_upcycle(rules);
      break;
    case Command::kParity:
      rules.refuse(!rules.raw.parity.hf, "`conclave parity` needs a model; --hf is not given; add --hf DIR");
      rules.refuse(!rules.raw.parity.reference,
                   "`conclave parity` needs numbers to compare with; --reference is not given; add --reference FILE");
      break;
    default:
      break;
  }
}

}  // namespace conclave
