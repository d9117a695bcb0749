// A folder in memory for readers that take paths; gone when the fuzzer ends in order.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/file.h"

namespace conclave {

class FuzzFolder {
 public:
  FuzzFolder() {
    const bool shared_memory = ::access("/dev/shm", W_OK) == 0;
    path_ = (shared_memory ? std::string("/dev/shm") : std::filesystem::temp_directory_path().string()) +
            "/conclave-fuzz-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) ::abort();
  }
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  void write(std::string_view name, std::string_view content) const {
    OutputFile out(file(name));
    out.write(content);
    out.close();
  }

 private:
  std::string path_;
};

}  // namespace conclave
