// A folder of one test's own.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/file.h"

namespace conclave {

class ScratchTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = testing::TempDir() + "conclave_data_" + info->test_suite_name() + "_" + info->name();
    for (char& c : folder_) {
      if (c == '/' && &c > &folder_[testing::TempDir().size()]) c = '_';
    }
    remove_all(folder_);
    make_directories(folder_);
  }
  void TearDown() override { remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  std::string folder_;
};

/// Without the syncing that makes many small files slow.
inline void write_quickly(const std::string& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.close();
}

/// Text of the UserError that `action` throws; fails the test if there is none.
template <typename Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const std::exception& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

}  // namespace conclave
