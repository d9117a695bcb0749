find_package(yaml-cpp REQUIRED)
target_link_libraries(conclave_config PRIVATE yaml-cpp)
