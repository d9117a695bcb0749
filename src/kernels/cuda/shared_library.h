// Libraries that are opened when first needed, so that the program starts where they are not.
#pragma once

namespace conclave::kernels::cuda {

/// Opens `name` ("libcudnn.so.9") from the loader's paths or the toolkit's folder; null if it is nowhere.
void* open_library(const char* name);
/// The same; UserError that says how to get it.
void* need_library(const char* name);
/// A function of it; InternalError if it has none of this name.
void* library_function(void* library, const char* name);

}  // namespace conclave::kernels::cuda
