// rooms: data
// Text and JSONL from a stranger, perhaps compressed: cut into documents in every way. Paragraphs together must be the
// text, and no document may reach outside its chunk.
#include <cstdlib>

#include "base/error.h"
#include "data/document_reader.h"
#include "fuzz_folder.h"

namespace conclave {
namespace {

std::string join_documents(const std::string& path, TextDocuments documents) {
  DocumentReader reader({path}, documents);
  DocumentChunk chunk;
  std::string joined;
  int64_t line = 0;
  while (reader.next(chunk)) {
    for (size_t i = 0; i < chunk.documents.size(); ++i) {
      const auto& document = chunk.documents[i];
      if (document.begin > document.end || document.end > chunk.text.size() || document.line <= line) std::abort();
      line = document.line;
      joined += chunk[i];
    }
    if (joined.size() > (size_t{64} << 20)) return "";  // a compressed bomb: enough seen
  }
  return joined;
}

}  // namespace
}  // namespace conclave

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  static const FuzzFolder folder;
  const std::string_view content(reinterpret_cast<const char*>(data), size);
  folder.write("x.txt", content);
  folder.write("x.jsonl", content);
  try {
    const std::string paragraphs = join_documents(folder.file("x.txt"), TextDocuments::kParagraph);
    const std::string lines = join_documents(folder.file("x.txt"), TextDocuments::kLine);
    join_documents(folder.file("x.jsonl"), TextDocuments::kLine);
    if (paragraphs.size() <= (size_t{1} << 20) &&
        paragraphs != join_documents(folder.file("x.txt"), TextDocuments::kFile)) {
      std::abort();
    }
    if (lines.size() > paragraphs.size() && !paragraphs.empty()) std::abort();
  } catch (const UserError&) {
  }
  return 0;
}
