# The CUDA back end: preset `cuda`. Sources below folders named cuda/ see the toolkit; nobody else does.

set(CONCLAVE_CUDA_ARCH "90a" CACHE STRING "GPU architectures, e.g. 80;89;90a;100")
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDA_HOME PATHS /usr/local/cuda/bin)
  if(NOT CMAKE_CUDA_COMPILER)
    unset(CMAKE_CUDA_COMPILER CACHE)
    message(FATAL_ERROR "The CUDA build needs nvcc (CUDA toolkit 12.4 or newer): put it on PATH, or set CUDA_HOME or CUDACXX")
  endif()
endif()
list(TRANSFORM CONCLAVE_CUDA_ARCH APPEND "-real" OUTPUT_VARIABLE CMAKE_CUDA_ARCHITECTURES)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
# CMake 3.25 does not know yet that nvcc has C++20.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
if(CONCLAVE_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CONCLAVE_CCACHE})
endif()

# What rooms with a cuda/ folder link. The runtime is linked statically: a program starts where there is no CUDA at all.
add_library(conclave_cuda INTERFACE)
target_link_libraries(conclave_cuda INTERFACE CUDA::cudart_static)
# -lineinfo costs no speed and lets the tools name lines. nvcc does not get through what fmt checks at compile time.
target_compile_options(conclave_cuda INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-DFMT_CONSTEVAL=;-DFMT_USE_CONSTEXPR=1;-lineinfo;--expt-relaxed-constexpr;--extended-lambda;-Xcompiler=-Wall,-Wno-psabi>")
if(CONCLAVE_WERROR)
  target_compile_options(conclave_cuda INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>")
endif()

# NCCL's header alone: the library is opened when a job has several ranks with GPUs. Without it such jobs are refused.
set(CONCLAVE_NCCL OFF)
find_path(CONCLAVE_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
if(CONCLAVE_NCCL_INCLUDE AND CONCLAVE_WITH_MPI)
  set(CONCLAVE_NCCL ON)
endif()
