# Headers of cuDNN 9 (from the toolkit's folder or CUDNN_DIR) and of cudnn-frontend, which describes attention to it: from CUDNN_FRONTEND_DIR,
# or out of its wheel, which pip brings into build/deps once; only the file of this SHA-256 is taken.
set(CUDNN_DIR "" CACHE PATH "Folder with include/cudnn.h; empty: beside the CUDA toolkit")
set(CUDNN_FRONTEND_DIR "" CACHE PATH "Folder with include/cudnn_frontend.h; empty: taken from its wheel")
set(cudnn_frontend_version 1.32.0)
set(cudnn_frontend_sha256 c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0)

find_path(CONCLAVE_CUDNN_INCLUDE cudnn.h HINTS ${CUDNN_DIR}/include ${CUDAToolkit_INCLUDE_DIRS})
if(NOT CONCLAVE_CUDNN_INCLUDE)
  message(FATAL_ERROR "The CUDA build needs the headers of cuDNN 9: install them, or set -DCUDNN_DIR=FOLDER (with include/cudnn.h)")
endif()

set(deps ${CMAKE_SOURCE_DIR}/build/deps/cudnn-frontend-${cudnn_frontend_version})
find_path(CONCLAVE_CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${CUDNN_FRONTEND_DIR}/include ${deps}/include)
if(NOT CONCLAVE_CUDNN_FRONTEND_INCLUDE)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  message(STATUS "Bringing the headers of cudnn-frontend ${cudnn_frontend_version} into build/deps")
  file(MAKE_DIRECTORY ${deps})
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 --implementation cp
            --platform manylinux_2_28_x86_64 --dest ${deps} nvidia-cudnn-frontend==${cudnn_frontend_version}
    RESULT_VARIABLE failed ERROR_VARIABLE pip_says)
  file(GLOB wheel ${deps}/nvidia_cudnn_frontend-${cudnn_frontend_version}-*.whl)
  if(failed OR NOT wheel)
    message(FATAL_ERROR "pip could not bring nvidia-cudnn-frontend ${cudnn_frontend_version} (${pip_says}): set -DCUDNN_FRONTEND_DIR=FOLDER (with include/cudnn_frontend.h)")
  endif()
  file(SHA256 ${wheel} found_sha256)
  if(NOT found_sha256 STREQUAL cudnn_frontend_sha256)
    message(FATAL_ERROR "${wheel} has SHA-256 ${found_sha256}, not ${cudnn_frontend_sha256}: it is not taken")
  endif()
  file(ARCHIVE_EXTRACT INPUT ${wheel} DESTINATION ${deps} PATTERNS "include/*")
  file(REMOVE ${wheel})
  unset(CONCLAVE_CUDNN_FRONTEND_INCLUDE CACHE)
  find_path(CONCLAVE_CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${deps}/include REQUIRED)
endif()
