#include <fmt/core.h>

#include "base/clock.h"
#include "base/error.h"
#include "cli/command.h"
#include "comm/communicator.h"
#include "config/validate.h"
#include "convert/hf_checkpoint.h"
#include "convert/hf_export.h"

namespace conclave {
namespace {

void import_model(const Options& options, const std::string& input) {
  const Stopwatch watch;
  const HuggingFaceWeights weights(input);
  const auto device = make_device("cpu");
  const auto world = make_self_communicator("world");
  const SaveReport report = import_hugging_face(weights, *options.convert.output, *world, device->default_stream());
  const ParameterCount count = count_parameters(weights.spec());
  fmt::print("{} with {:.3f} billion parameters ({:.3f} active) -> '{}' ({:.2f} GB in {:.1f} s)\n",
             weights.family().model_type, static_cast<double>(count.total) / 1e9,
             static_cast<double>(count.active) / 1e9, report.directory, static_cast<double>(report.bytes) / 1e9,
             watch.seconds());
}

void export_model(const Options& options, const std::string& input) {
  const Stopwatch watch;
  const auto found = find_checkpoint(input, options.checkpoint.ckpt_step);
  CONCLAVE_USER_CHECK(found.has_value(), "--input {}: there is no checkpoint", input);
  const CheckpointReader reader(found->directory);
  ExportRequest request;
  request.output = *options.convert.output;
  request.max_shard_size = options.convert.max_shard_size;
  if (options.convert.fused_experts) request.form = ExpertForm::kFused;
  request.model_type = options.convert.hf_model_type;
  if (options.convert.hf_dtype) request.dtype = dtype_from_name(*options.convert.hf_dtype);
  const ExportReport report = export_hugging_face(reader, request);
  fmt::print("{}: {} tensors, {:.2f} GB in {} files -> '{}' ({:.1f} s, read back and compared)\n", report.model_type,
             report.tensors, static_cast<double>(report.bytes) / 1e9, report.files, request.output, watch.seconds());
}

}  // namespace

int convert_command(const Words& words) {
  const Options options = checked_options(parse_command_line(Command::kConvert, words), Command::kConvert);
  const std::string& input = options.preprocess.input.front();
  const bool from_hf = options.convert.from == "hf", to_hf = options.convert.to == "hf";
  if (from_hf == to_hf)
    throw UsageError(fmt::format("`conclave convert` goes from one form to the other; got --from {} --to {}",
                                 *options.convert.from, *options.convert.to));
  from_hf ? import_model(options, input) : export_model(options, input);
  return 0;
}

}  // namespace conclave
