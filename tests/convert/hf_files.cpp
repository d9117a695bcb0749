#include "convert/hf_files.h"

namespace conclave {

std::string golden_model(const std::string& name) { return std::string(CONCLAVE_GOLDEN_DIR) + "/hf/" + name; }

}  // namespace conclave
