# Not by oneDNN's own configuration file: Debian's demands OpenCL headers, which nothing here includes.
find_path(DNNL_INCLUDE_DIR dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
target_include_directories(conclave_kernels SYSTEM PRIVATE ${DNNL_INCLUDE_DIR})
target_link_libraries(conclave_kernels PRIVATE ${DNNL_LIBRARY})
# Neither changes a result (nobody reads errno or the floating-point exception flags); both let loops vectorise.
target_compile_options(conclave_kernels PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno;-fno-trapping-math>")
# clang 16 crashes on these files when it optimises under its sanitizers; only the fuzzers are built that way.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  set_source_files_properties(src/kernels/cpu/attention_backward.cpp src/kernels/cpu/attention_forward.cpp
                              src/kernels/cpu/packed_product.cpp PROPERTIES COMPILE_OPTIONS "-O0")
endif()
if(CONCLAVE_CUDA)
  # cuBLASLt and cuDNN are opened when first needed, from the loader's paths or the toolkit's folder.
  include(CudnnFrontend)
  set_source_files_properties(src/kernels/cuda/shared_library.cpp PROPERTIES COMPILE_DEFINITIONS
                              CONCLAVE_CUDA_LIBRARY_FOLDER="${CUDAToolkit_LIBRARY_DIR}")
  set_source_files_properties(src/kernels/cuda/attention_cudnn.cpp PROPERTIES COMPILE_OPTIONS
                              "-isystem${CONCLAVE_CUDNN_FRONTEND_INCLUDE};-isystem${CONCLAVE_CUDNN_INCLUDE}")
  target_link_libraries(conclave_kernels PRIVATE ${CMAKE_DL_LIBS})
endif()
