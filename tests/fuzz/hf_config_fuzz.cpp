// rooms: convert
// A config.json from a stranger: refused with a text, or options and tensor places whose sizes agree.
#include <cstdlib>

#include "base/error.h"
#include "convert/hf_import.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace conclave;
  try {
    const Json config = Json::parse({reinterpret_cast<const char*>(data), size}, "config.json");
    const HuggingFaceModel model = read_hugging_face_config(config, "config.json");
    const Options options = options_of_model(model.options);
    // Small models are laid out; large ones only cost time.
    if (options.model.num_layers > 16 || options.moe.num_experts > 64) return 0;
    const ModelSpec spec = make_model_spec(options, options.model.vocab_size);
    for (const ExpertForm form : {ExpertForm::kSeparate, ExpertForm::kFused}) {
      for (const TensorPlace& place : tensor_places(spec, model.family->names, form)) {
        int64_t elements = 1, covered = 0;
        for (const int64_t length : place.shape) elements *= length;
        for (const PlaceRun& run : place.runs) covered += run.count;
        if (elements != covered) std::abort();
      }
    }
  } catch (const UserError&) {
  }
  return 0;
}
