#include "comm/failure.h"

#include <new>

#include "base/exit_code.h"

namespace conclave {
namespace {

constexpr const char* kOutOfMemory = "out of memory; make the job smaller, or give it a larger machine";

bool starts_with_rank(const std::string& text) {
  const size_t colon = text.find(": ");
  return text.starts_with("rank ") && colon != std::string::npos && colon > 5 &&
         text.find_first_not_of("0123456789", 5) == colon;
}

}  // namespace

Failure describe_failure(const std::exception_ptr& failure) {
  const auto code = [](ExitCode exit) { return static_cast<int>(exit); };
  try {
    std::rethrow_exception(failure);
  } catch (const ExitRequest& e) {
    return {e.what(), code(e.code())};
  } catch (const UsageError& e) {
    return {e.what(), code(ExitCode::kUsage)};
  } catch (const std::bad_alloc&) {
    return {kOutOfMemory, code(ExitCode::kFailed)};
  } catch (const std::exception& e) {
    return {e.what(), code(ExitCode::kFailed)};
  } catch (...) {
    return {"an exception without a text", code(ExitCode::kFailed)};
  }
}

std::string with_rank(int64_t rank, const std::string& text) {
  return starts_with_rank(text) ? text : fmt::format("rank {}: {}", rank, text);
}

void rethrow_with_rank(int64_t rank, const std::exception_ptr& failure) {
  const std::string text = with_rank(rank, describe_failure(failure).text);
  try {
    std::rethrow_exception(failure);
  } catch (const ExitRequest& e) {
    throw ExitRequest(e.code(), text);
  } catch (const UsageError&) {
    throw UsageError(text);
  } catch (const UserError&) {
    throw UserError(text);
  } catch (const InternalError&) {
    throw InternalError(text);
  } catch (const CollectiveMismatch&) {
    throw CollectiveMismatch(text);
  } catch (const CollectiveTimeout&) {
    throw CollectiveTimeout(text);
  } catch (const std::bad_alloc&) {
    throw UserError(text);
  } catch (...) {
    throw Error(text);
  }
}

}  // namespace conclave
