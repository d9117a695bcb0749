if(CONCLAVE_MPI)
  target_link_libraries(conclave_comm PRIVATE conclave_mpi)
endif()
