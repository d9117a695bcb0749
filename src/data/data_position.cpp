#include "data/data_position.h"

#include "base/error.h"

namespace conclave {
namespace {

Json list_of(const std::vector<SourcePosition>& sources) {
  Json out = Json::array();
  for (const SourcePosition& source : sources) out.push_back(source.to_json());
  return out;
}

std::vector<SourcePosition> sources_of(const Json& json) {
  std::vector<SourcePosition> out;
  for (const Json& entry : json.as_array()) out.push_back(SourcePosition::from_json(entry));
  return out;
}

}  // namespace

Json SourcePosition::to_json() const {
  Json requested = Json::array();
  for (const std::optional<int64_t>& size : samples_requested) requested.push_back(size ? Json(*size) : Json());
  Json out = Json::object();
  out["path"] = path;
  out["content"] = content;
  out["samples_requested"] = requested;
  out["start"] = start;
  out["consumed"] = consumed;
  return out;
}

SourcePosition SourcePosition::from_json(const Json& json) {
  SourcePosition out;
  out.path = json.at("path").as_string();
  out.content = json.at("content").as_string();
  out.start = json.at("start").as_int();
  out.consumed = json.at("consumed").as_int();
  for (const Json& size : json.at("samples_requested").as_array()) {
    out.samples_requested.push_back(size.is_null() ? std::nullopt : std::optional<int64_t>(size.as_int()));
    CONCLAVE_USER_CHECK(out.samples_requested.back().value_or(0) >= 0,
                        "data position: {} samples of '{}'; the checkpoint is damaged", size.dump(), out.path);
  }
  CONCLAVE_USER_CHECK(out.start >= 0 && out.consumed >= out.start,
                      "data position: samples {} to {} of '{}'; the checkpoint is damaged", out.start, out.consumed,
                      out.path);
  return out;
}

Json DataPosition::to_json() const {
  Json out = Json::object();
  out["consumed_samples"] = consumed_samples;
  out["segment_start"] = segment_start;
  out["blend"] = blend;
  out["order"] = order;
  out["sources"] = list_of(sources);
  out["retired"] = list_of(retired);
  return out;
}

DataPosition DataPosition::from_json(const Json& json) {
  DataPosition out;
  out.consumed_samples = json.at("consumed_samples").as_int();
  out.segment_start = json.at("segment_start").as_int();
  out.blend = json.at("blend").as_string();
  out.order = json.at("order").as_string();
  out.sources = sources_of(json.at("sources"));
  out.retired = sources_of(json.at("retired"));
  CONCLAVE_USER_CHECK(out.segment_start >= 0 && out.segment_start <= out.consumed_samples,
                      "data position: a segment that starts at sample {} of {}; the checkpoint is damaged",
                      out.segment_start, out.consumed_samples);
  return out;
}

}  // namespace conclave
