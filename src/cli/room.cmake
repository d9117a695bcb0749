target_compile_definitions(conclave_cli PRIVATE CONCLAVE_DEFAULT_GOLDEN_DIR="${CMAKE_SOURCE_DIR}/tests/golden")
