#include "data/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "data/tokenizer/ruby_pattern.h"
#include "data/tokenizer/utf8.h"

namespace conclave {
namespace {

// Far above what a word pattern needs, far below what would look like a hang; Oniguruma has the same limit.
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 256 * 1024;
constexpr size_t kStackStart = size_t{64} << 10;
constexpr size_t kStackMost = size_t{16} << 20;
constexpr size_t kMaxPattern = size_t{1} << 16;

// What matching needs beside the code; one per thread, shared by all patterns.
struct Workspace {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kStackStart, kStackMost, nullptr);
  Workspace() {
    CONCLAVE_USER_CHECK(data != nullptr && context != nullptr && stack != nullptr, "[data/tokenizer] out of memory");
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Workspace() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
};

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string shown;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, std::string_view shown, bool literal) {
  CONCLAVE_USER_CHECK(pattern.size() <= kMaxPattern, "pattern of {} bytes is longer than {}", pattern.size(),
                      kMaxPattern);
  auto made = std::make_shared<Code>();
  made->shown = shown.substr(0, 200);
  const uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE);
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context, 200);
  made->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &code, &offset, context);
  pcre2_compile_context_free(context);
  CONCLAVE_USER_CHECK(made->code != nullptr, "pattern '{}': {}", made->shown, message_of(code));
  made->jit = pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(made);
}

Regex Regex::from_ruby(std::string_view pattern) { return {ruby_to_pcre2(pattern), pattern, false}; }

Regex Regex::literal(std::string_view text) { return {text, text, true}; }

bool Regex::find(std::string_view text, size_t from, Match& match) const {
  thread_local Workspace workspace;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data() != nullptr ? text.data() : "");
  const int result = code_->jit ? pcre2_jit_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK,
                                                  workspace.data, workspace.context)
                                : pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK,
                                              workspace.data, workspace.context);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  CONCLAVE_USER_CHECK(result >= 0,
                      "[data/tokenizer] pattern '{}' cannot be matched against this text: {}; simplify the pattern",
                      code_->shown, message_of(result));
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(workspace.data);
  match = {ends[0], ends[1]};
  return true;
}

size_t Regex::next_character(std::string_view text, size_t at) {
  return at < text.size() ? at + utf8::length_of(text[at]) : at + 1;
}

}  // namespace conclave
