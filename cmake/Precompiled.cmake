# Headers parsed once for many files, and how hard each room is optimised: together half of the time of a build.
#
# No file may rely on it: the presets of the sanitizers are built without (CONCLAVE_PRECOMPILE off), so that a missing #include shows there.

option(CONCLAVE_PRECOMPILE "Parse the headers of the standard library once instead of in every file" ON)

# Rooms that decide and describe: -O3 gains nothing there but time to compile. The others hold or steer loops over tokens and bytes.
set(CONCLAVE_COLD_ROOMS cli config layout models proof schedule spec tests trainer)

# Standard headers that most files of the project reach.
set(CONCLAVE_COMMON_HEADERS
    <algorithm> <array> <atomic> <chrono> <cmath> <condition_variable> <cstdint> <cstring> <exception> <filesystem> <functional> <limits>
    <map> <memory> <mutex> <numeric> <optional> <set> <span> <string> <string_view> <thread> <utility> <variant> <vector> <fmt/core.h>)

# conclave_precompile(TARGET OWNER [HEADERS...]): TARGET uses the headers that OWNER parses (OWNER may be TARGET itself).
function(conclave_precompile target owner)
  if(NOT CONCLAVE_PRECOMPILE)
    return()
  endif()
  if(NOT target STREQUAL owner)
    target_precompile_headers(${target} REUSE_FROM ${owner})
    return()
  endif()
  target_precompile_headers(${target} PRIVATE ${CONCLAVE_COMMON_HEADERS} ${ARGN})
endfunction()

# conclave_optimise_room(TARGET ROOM)
function(conclave_optimise_room target room)
  if(CMAKE_BUILD_TYPE STREQUAL "Release" AND room IN_LIST CONCLAVE_COLD_ROOMS)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-O1>)
  endif()
endfunction()

# What a room parses once: one set for all rooms, but the kernels, whose other flags make other macros, have their own.
function(conclave_precompile_room target room)
  if(room STREQUAL "kernels")
    conclave_precompile(${target} ${target})
  else()
    conclave_precompile(${target} conclave_precompiled)
  endif()
endfunction()

# conclave_precompiled_owner(NAME LIBRARIES HEADERS...): a target that does nothing but parse the headers.
function(conclave_precompiled_owner name libraries)
  file(WRITE ${CMAKE_BINARY_DIR}/${name}.cpp "")
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE conclave_build_flags ${libraries})
  conclave_precompile(${name} ${name} ${ARGN})
endfunction()

conclave_precompiled_owner(conclave_precompiled "")
