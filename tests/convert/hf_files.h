// Hugging Face directories for tests: copies of golden models to damage, and a writer of small safetensors files.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/safetensors.h"

namespace conclave {

namespace fs = std::filesystem;

/// A folder of its own that goes with the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = (fs::temp_directory_path() / (std::string("conclave_convert_") + info->test_suite_name() + "_" +
                                          std::to_string(::getpid()) + "_" + std::to_string(count_++)))
                .string();
    for (char& c : path_) c = c == ' ' ? '_' : c;
    fs::create_directories(path_);
  }
  ~ScratchFolder() { fs::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  static inline int count_ = 0;
  std::string path_;
};

/// A directory of tests/golden/hf.
std::string golden_model(const std::string& name);

/// A tensor with bytes of its own.
struct TestTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::string bytes;
};
using TestTensors = std::map<std::string, TestTensor>;

/// Every weight of a directory.
inline TestTensors read_tensors(const std::string& directory) {
  TestTensors out;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("model") || !name.ends_with(".safetensors")) continue;
    const SafetensorsFile file(entry.path().string());
    for (const SafetensorsEntry& tensor : file.entries())
      out[tensor.name] = {tensor.dtype, tensor.shape,
                          std::string(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size())};
  }
  return out;
}

inline void write_tensors(const std::string& path, const TestTensors& tensors) {
  std::vector<SafetensorsItem> items;
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    items.push_back({name, tensor.dtype, tensor.shape});
    data += tensor.bytes;
  }
  write_file_atomically(path, safetensors_header(items) + data);
}

/// A golden model as one file, with its tensors and configuration changed.
inline void make_model(const std::string& from, const std::string& to, const std::function<void(Json&)>& change_config,
                       const std::function<void(TestTensors&)>& change_tensors) {
  fs::create_directories(to);
  Json config = Json::parse(read_file(golden_model(from) + "/config.json"), "config");
  if (change_config) change_config(config);
  write_file_atomically(to + "/config.json", config.dump(2));
  TestTensors tensors = read_tensors(golden_model(from));
  if (change_tensors) change_tensors(tensors);
  write_tensors(to + "/model.safetensors", tensors);
}

inline std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace conclave
