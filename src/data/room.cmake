# The order of samples hangs on single roundings (shares of a blend, bounds of a split), and so does the choice between token
# sequences of nearly the same score.
target_compile_options(conclave_data PRIVATE -ffp-contract=off)

find_path(PCRE2_INCLUDE_DIR pcre2.h REQUIRED)
find_library(PCRE2_LIBRARY pcre2-8 REQUIRED)
find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)
find_library(UTF8PROC_LIBRARY utf8proc REQUIRED)
target_include_directories(conclave_data PRIVATE ${PCRE2_INCLUDE_DIR} ${UTF8PROC_INCLUDE_DIR})
target_link_libraries(conclave_data PRIVATE ${PCRE2_LIBRARY} ${UTF8PROC_LIBRARY})

# Compressed text.
find_package(ZLIB REQUIRED)
find_path(ZSTD_INCLUDE_DIR zstd.h REQUIRED)
find_library(ZSTD_LIBRARY zstd REQUIRED)
target_include_directories(conclave_data PRIVATE ${ZSTD_INCLUDE_DIR})
target_link_libraries(conclave_data PRIVATE ZLIB::ZLIB ${ZSTD_LIBRARY})
