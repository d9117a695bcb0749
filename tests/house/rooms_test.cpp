// The house rules that a compiler does not check: who may include whom, and where certain headers may appear.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Rooms = std::map<std::string, std::set<std::string>>;

// Room -> every room it may include, itself included, from the list CMake links by.
Rooms visible_rooms(const std::string& list) {
  Rooms rooms;
  std::istringstream lines(list);
  for (std::string line; std::getline(lines, line);) {
    const size_t colon = line.find(':');
    if (line.empty() || line[0] == '#' || colon == std::string::npos) continue;
    const std::string room = line.substr(0, colon);
    rooms[room].insert(room);
    std::istringstream deps(line.substr(colon + 1));
    for (std::string dep; deps >> dep;) rooms[room].insert(rooms.at(dep).begin(), rooms.at(dep).end());
  }
  return rooms;
}

std::string read(const fs::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> includes_of(const std::string& text) {
  static const std::regex pattern("(^|\n)[ \t]*#[ \t]*include[ \t]*[<\"]([^>\"]+)[>\"]");
  std::vector<std::string> out;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern); it != std::sregex_iterator(); ++it)
    out.push_back((*it)[2]);
  return out;
}

// Text of what is wrong with one file, empty if nothing.
std::string faults_of(const std::string& relative, const std::string& text, const Rooms& rooms) {
  const std::string room = relative.substr(0, relative.find('/'));
  std::string faults;
  if (!rooms.contains(room)) return relative + ": folder '" + room + "' is no room of cmake/rooms.txt\n";
  for (const std::string& include : includes_of(text)) {
    const std::string other = include.substr(0, include.find('/'));
    if (rooms.contains(other) && include.find('/') != std::string::npos && !rooms.at(room).contains(other)) {
      faults += relative + ": room '" + room + "' may not include \"" + include + "\"\n";
    }
    const auto only_below = [&](const char* folder, const std::regex& header) {
      if (std::regex_search(include, header) && relative.find(std::string("/") + folder + "/") == std::string::npos) {
        faults += relative + ": <" + include + "> may appear only under " + folder + "/\n";
      }
    };
    static const std::regex cuda("^(cuda|cublas|cudnn|cub/|cute/|cutlass)"), mpi("^mpi\\.h$"), nccl("^nccl\\.h$");
    only_below("cuda", cuda);
    only_below("mpi", mpi);
    only_below("nccl", nccl);
  }
  return faults;
}

std::vector<fs::path> sources() {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(CONCLAVE_SOURCE_DIR) / "src")) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh")
      out.push_back(entry.path());
  }
  return out;
}

const Rooms kRooms = visible_rooms(read(fs::path(CONCLAVE_SOURCE_DIR) / "cmake/rooms.txt"));

TEST(Rooms, EveryIncludeIsAllowed) {
  std::string faults;
  size_t count = 0;
  for (const fs::path& path : sources()) {
    faults += faults_of(fs::relative(path, fs::path(CONCLAVE_SOURCE_DIR) / "src").string(), read(path), kRooms);
    ++count;
  }
  EXPECT_GT(count, 10u);
  EXPECT_EQ(faults, "");
}

TEST(Rooms, TheCheckFindsWhatIsForbidden) {
  EXPECT_NE(faults_of("kernels/a.cpp", "#include \"moe/router.h\"\n", kRooms), "");
  EXPECT_NE(faults_of("data/a.cpp", "#include \"tensor/tensor.h\"\n", kRooms), "");
  EXPECT_NE(faults_of("comm/a.cpp", "#include <mpi.h>\n", kRooms), "");
  EXPECT_NE(faults_of("helpers/a.cpp", "", kRooms), "");
  EXPECT_EQ(faults_of("comm/mpi/a.cpp", "#include <mpi.h>\n", kRooms), "");
  EXPECT_EQ(faults_of("moe/a.cpp", "#include \"kernels/gemm.h\"\n#include <vector>\n", kRooms), "");
}

TEST(Rooms, HeavyHeadersStayInFewFiles) {
  const std::map<std::string, std::regex> heavy = {{"CLI11", std::regex("^CLI/")},
                                                   {"spdlog", std::regex("^spdlog/")},
                                                   {"nlohmann", std::regex("^nlohmann/")},
                                                   {"yaml-cpp", std::regex("^yaml-cpp/")},
                                                   {"protobuf", std::regex("^google/protobuf|\\.pb\\.h$")}};
  std::map<std::string, std::set<std::string>> users;
  for (const fs::path& path : sources()) {
    for (const std::string& include : includes_of(read(path))) {
      for (const auto& [library, pattern] : heavy) {
        if (!std::regex_search(include, pattern)) continue;
        users[library].insert(path.filename().string());
        EXPECT_EQ(path.extension(), ".cpp") << path << " includes " << include;
      }
    }
  }
  for (const auto& [library, files] : users) EXPECT_LE(files.size(), 3u) << library;
}

TEST(Rooms, EveryRoomHasItsPage) {
  for (const auto& entry : fs::directory_iterator(fs::path(CONCLAVE_SOURCE_DIR) / "src")) {
    if (!entry.is_directory()) continue;
    EXPECT_TRUE(fs::exists(entry.path() / "README.md")) << entry.path();
  }
}

TEST(Rooms, NoVagueNames) {
  for (const fs::path& path : sources()) {
    const std::string stem = path.stem().string();
    for (const char* vague : {"utils", "util", "helpers", "helper", "common", "misc", "manager"})
      EXPECT_NE(stem, vague) << path;
  }
}

}  // namespace
