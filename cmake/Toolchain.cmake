# Compiler settings and third-party libraries. Everything is a system package; nothing is downloaded.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(CONCLAVE_CCACHE ccache)
if(CONCLAVE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CONCLAVE_CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)

# Decides between comm/mpi and its twin comm/no_mpi.
set(CONCLAVE_MPI OFF)
if(CONCLAVE_WITH_MPI)
  find_package(MPI COMPONENTS C)
  if(MPI_C_FOUND)
    set(CONCLAVE_MPI ON)
  elseif(NOT CONCLAVE_WITH_MPI STREQUAL "AUTO")
    message(FATAL_ERROR "CONCLAVE_WITH_MPI is ON and there is no MPI (Debian, Ubuntu: libopenmpi-dev)")
  else()
    message(STATUS "No MPI: ranks are threads of one process only (Debian, Ubuntu: libopenmpi-dev)")
  endif()
endif()

add_library(conclave_build_flags INTERFACE)
if(DEFINED ENV{CMAKE_PREFIX_PATH} OR CMAKE_PREFIX_PATH)
  # Libraries in a folder of their own load each other from there: RPATH, which is inherited, instead of RUNPATH, which is not.
  target_link_options(conclave_build_flags INTERFACE LINKER:--disable-new-dtags)
endif()
target_compile_options(conclave_build_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor)
# kernels/cpu passes vectors wider than the registers of some machines, between inlined functions only.
target_compile_options(conclave_build_flags INTERFACE -Wno-psabi)
# Members of an Args struct that are not named in an initialiser have their defaults: that is what the structs are for.
target_compile_options(conclave_build_flags INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # clang reports every `omp simd` loop that it leaves scalar, as it must at -O1.
  target_compile_options(conclave_build_flags INTERFACE -Wno-pass-failed)
endif()
if(CONCLAVE_WERROR)
  target_compile_options(conclave_build_flags INTERFACE -Werror)
endif()
if(CONCLAVE_ARCH)
  target_compile_options(conclave_build_flags INTERFACE -march=${CONCLAVE_ARCH})
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14 AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # GCC 12 with AVX-512 stores a constant {x, x, 0, 0} of eight-byte elements as {x, x, x, x} where it copies 32 bytes at once
  # (tests/base/toolchain_test.cpp). Copies in pieces of 16 bytes are right.
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag("-mmove-max=128 -mstore-max=128" CONCLAVE_HAS_MOVE_MAX)
  if(CONCLAVE_HAS_MOVE_MAX)
    target_compile_options(conclave_build_flags INTERFACE -mmove-max=128 -mstore-max=128)
  endif()
endif()
if(CONCLAVE_SANITIZE)
  target_compile_options(conclave_build_flags INTERFACE -fsanitize=${CONCLAVE_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(conclave_build_flags INTERFACE -fsanitize=${CONCLAVE_SANITIZE})
endif()
target_include_directories(conclave_build_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(conclave_build_flags INTERFACE fmt::fmt Threads::Threads OpenMP::OpenMP_CXX)
