find_package(dnnl CONFIG REQUIRED)
target_link_libraries(conclave_kernels PRIVATE DNNL::dnnl)
