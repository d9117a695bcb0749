// rooms: data
// encode_text TOKENIZER FILE.jsonl THREADS REPEATS: encodes the "text" of every line and prints one JSON object with
// the seconds of the best pass (on the clock, and of all processors together), the number of tokens and the SHA-256 of
// all ids (32 bits each, little-endian). For bench/peers.

#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/tokenizer/tokenizer.h"

namespace conclave {
namespace {

static_assert(std::endian::native == std::endian::little);

std::vector<std::string> read_documents(const std::string& path) {
  std::vector<std::string> documents;
  const std::string content = read_file(path);
  for (size_t at = 0; at < content.size();) {
    const size_t end = std::min(content.find('\n', at), content.size());
    documents.push_back(Json::parse(std::string_view(content).substr(at, end - at), path).at("text").as_string());
    at = end + 1;
  }
  return documents;
}

using Ids = std::vector<std::vector<int32_t>>;

struct Seconds {
  double clock = 1e30, processors = 1e30;
};

Seconds encode_all(const Tokenizer& tokenizer, const std::vector<std::string>& documents, int thread_count, Ids& ids) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t processors = std::clock();
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&] {
      for (size_t i = next++; i < documents.size(); i = next++) {
        ids[i].clear();
        tokenizer.encode_to(documents[i], ids[i]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
          static_cast<double>(std::clock() - processors) / CLOCKS_PER_SEC};
}

void run(char** argv) {
  TokenizerConfig config;
  config.model = argv[1];
  config.type = config.model.ends_with(".model") ? "SentencePieceTokenizer" : "HuggingFaceTokenizer";
  const std::vector<std::string> documents = read_documents(argv[2]);
  const int threads = std::atoi(argv[3]), repeats = std::atoi(argv[4]);
  Seconds best;
  Ids ids;
  for (int i = 0; i < repeats; ++i) {
    // Like the peer: a fresh tokenizer for every pass, so that no cache is warm.
    const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(config);
    ids.assign(documents.size(), {});
    const Seconds seconds = encode_all(*tokenizer, documents, threads, ids);
    best = {std::min(best.clock, seconds.clock), std::min(best.processors, seconds.processors)};
  }
  std::string all;
  for (const std::vector<int32_t>& document : ids) {
    all.append(reinterpret_cast<const char*>(document.data()), document.size() * sizeof(int32_t));
  }
  Json out = Json::object();
  out["seconds"] = best.clock;
  out["processor_seconds"] = best.processors;
  out["tokens"] = static_cast<int64_t>(all.size() / sizeof(int32_t));
  out["sha256"] = sha256_hex(all);
  std::puts(out.dump().c_str());
}

}  // namespace
}  // namespace conclave

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: encode_text TOKENIZER FILE.jsonl THREADS REPEATS\n", stderr);
    return 2;
  }
  try {
    conclave::run(argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
