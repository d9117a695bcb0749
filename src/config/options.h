// Every option of Conclave as plain typed structs, by concern. A default-constructed Options holds the defaults of the
// command line. Fields are named like their option with underscores (--num-experts: moe.num_experts).
//
// parse.h fills it, validate.h checks it, resolve.h derives what was not given; rooms read the resolved one.
#pragma once

#include "config/data_options.h"
#include "config/memory_options.h"
#include "config/model_options.h"
#include "config/moe_options.h"
#include "config/optimizer_options.h"
#include "config/parallel_options.h"
#include "config/precision_options.h"
#include "config/run_options.h"
#include "config/training_options.h"

namespace conclave {

struct Options {
  ModelOptions model;
  AttentionVariantOptions attention;
  MoeOptions moe;
  ParallelOptions parallel;
  PrecisionOptions precision;
  MemoryOptions memory;
  TrainingOptions training;
  OptimizerOptions optimizer;
  DataOptions data;
  TokenizerOptions tokenizer;
  PreprocessOptions preprocess;
  CheckpointOptions checkpoint;
  LoggingOptions logging;
  DeviceOptions device;
  GenerateOptions generate;
  EvalOptions eval;
  InspectOptions inspect;
  ConvertOptions convert;
  ParityOptions parity;
  BenchOptions bench;
  PlanOptions plan;
  PretendedOptions pretended;
};

}  // namespace conclave
