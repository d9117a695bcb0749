if(CONCLAVE_MPI)
  # The C interface alone: mpi.h would pull in the C++ one that the standard dropped.
  target_compile_definitions(conclave_comm PRIVATE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
  target_link_libraries(conclave_comm PRIVATE MPI::MPI_C)
endif()
