#include "base/error.h"
#include "base/text.h"
#include "checkpoint/reader.h"
#include "trainer/inspect.h"
#include "trainer/iteration_line.h"
#include "trainer/text_table.h"

namespace conclave {
namespace {

// Weights that are trained: neither optimizer states nor the router's bias, which is a buffer.
bool is_parameter(const StoredTensor& tensor) {
  return !tensor.name.starts_with("optimizer.") && !tensor.name.ends_with(".expert_bias");
}

std::string short_text(const Json& value) {
  std::string text = value.is_string() ? value.as_string() : value.dump();
  if (text.size() > 100) text = fmt::format("{}... ({} characters)", text.substr(0, 80), text.size());
  return text;
}

// "key.key: value" lines of all that is not an object.
void add_state(const Json& value, const std::string& path, std::string& out) {
  if (!value.is_object() || value.size() == 0) {
    out += fmt::format("  {}: {}\n", path, short_text(value));
    return;
  }
  for (const auto& [key, inner] : value.as_object())
    add_state(inner, path.empty() ? key : fmt::format("{}.{}", path, key), out);
}

Json tensor_json(const StoredTensor& tensor) {
  Json entry = Json::object();
  entry["name"] = tensor.name;
  entry["dtype"] = dtype_name(tensor.dtype);
  Json shape = Json::array();
  for (const int64_t size : tensor.shape) shape.push_back(size);
  entry["shape"] = std::move(shape);
  entry["bytes"] = tensor.bytes();
  return entry;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::vector<std::string> parts;
  for (const int64_t size : shape) parts.push_back(std::to_string(size));
  return fmt::format("[{}]", join(parts, ", "));
}

}  // namespace

Inspection inspect_checkpoint(const std::string& checkpoint_directory) {
  const CheckpointReader reader(checkpoint_directory);
  int64_t parameters = 0, parameter_bytes = 0, other_bytes = 0;
  std::vector<std::vector<std::string>> rows;
  Json tensors = Json::array();
  for (const StoredTensor& tensor : reader.tensors()) {
    if (is_parameter(tensor)) {
      parameters += tensor.element_count();
      parameter_bytes += tensor.bytes();
    } else {
      other_bytes += tensor.bytes();
    }
    rows.push_back(
        {tensor.name, std::string(dtype_name(tensor.dtype)), shape_text(tensor.shape), human_bytes(tensor.bytes())});
    tensors.push_back(tensor_json(tensor));
  }
  Inspection out;
  out.json["checkpoint"] = reader.directory();
  out.json["iteration"] = reader.iteration();
  out.json["world_size"] = reader.world_size();
  out.json["time"] = reader.time();
  out.json["parameters"] = parameters;
  out.json["parameter_bytes"] = parameter_bytes;
  out.json["other_bytes"] = other_bytes;
  out.json["state"] = reader.state();
  out.json["tensors"] = std::move(tensors);
  out.text = fmt::format("checkpoint {}\n", reader.directory());
  out.text += fmt::format("  iteration {}, written {} by {} rank{}\n", reader.iteration(),
                          local_timestamp(reader.time()), reader.world_size(), reader.world_size() == 1 ? "" : "s");
  out.text +=
      fmt::format("  {} parameters ({}) in {}; optimizer states and buffers {}\n", parameters,
                  human_count(static_cast<double>(parameters)), human_bytes(parameter_bytes), human_bytes(other_bytes));
  if (reader.state().is_object() && reader.state().size() > 0) {
    out.text += "\nstate\n";
    add_state(reader.state(), "", out.text);
  }
  out.text += fmt::format("\n{}", text_table({"tensor", "dtype", "shape", ">bytes"}, rows));
  return out;
}

}  // namespace conclave
