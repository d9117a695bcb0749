# The order of samples hangs on single roundings (shares of a blend, bounds of a split).
target_compile_options(conclave_data PRIVATE -ffp-contract=off)
