#include "checkpoint/rank_agreement.h"

#include <algorithm>

#include "base/error.h"
#include "tensor/tensor.h"

namespace conclave {
namespace {

constexpr size_t kTextBytes = 4096;

template <typename T>
std::vector<T> gather_values(Communicator& world, const Stream& stream, const std::vector<T>& mine) {
  const auto count = static_cast<int64_t>(mine.size());
  const MemoryTag tag{MemoryCategory::kWorkspace, "checkpoint agreement"};
  const Tensor in = from_host<T>(stream.device(), {count}, mine, tag);
  const Tensor out = Tensor::empty(stream.device(), {count * world.size()}, DTypeOf<T>::value, tag);
  world.all_gather(stream, in, out, "checkpoint agreement");
  std::vector<T> all = to_host<T>(stream, out);
  stream.device().synchronize();
  return all;
}

}  // namespace

std::vector<int64_t> RankAgreement::gather(const std::vector<int64_t>& mine) {
  return is_alone() ? mine : gather_values<int64_t>(*world_, stream_, mine);
}

bool RankAgreement::all(bool mine) {
  const std::vector<int64_t> flags = gather({mine ? 1 : 0});
  return std::all_of(flags.begin(), flags.end(), [](int64_t flag) { return flag == 1; });
}

void RankAgreement::fail_together(const std::string& failure) {
  if (is_alone()) {
    if (!failure.empty()) throw_user(failure);
    return;
  }
  const std::vector<int64_t> failed = gather({failure.empty() ? 0 : 1});
  const auto first = std::find(failed.begin(), failed.end(), 1);
  if (first == failed.end()) return;
  std::vector<uint8_t> text(kTextBytes, 0);
  std::copy_n(failure.begin(), std::min(failure.size(), kTextBytes), text.begin());
  const std::vector<uint8_t> texts = gather_values<uint8_t>(*world_, stream_, text);
  const auto* begin = reinterpret_cast<const char*>(texts.data()) + (first - failed.begin()) * ptrdiff_t{kTextBytes};
  throw_user(fmt::format("rank {}: {}", first - failed.begin(),
                         std::string(begin, std::find(begin, begin + kTextBytes, '\0'))));
}

}  // namespace conclave
