"""Whole training steps of the models of configs/bench_mixtral_8x7b_2.yaml and bench_qwen3_30b_a3b_6.yaml as Python stacks run them, to
set beside `conclave bench step --device cuda`.

    python3 moe_step_gpu.py MODEL STACK [--vocabulary V] [--accumulate N] [--steps N]

MODEL  mixtral or qwen3
STACK  hf          Transformers, torch.compile, grouped_mm, fused AdamW, everything in bf16
       titan       torchtitan's model classes and compile, everything in bf16
       titan-f32   the same under FSDP2 on one GPU: f32 weights, gradients and AdamW states, bf16 compute
torchtitan is imported from the checkout that TITAN names (98ec7b4f5 runs on PyTorch 2.11); modules that it imports and a step does not
use are stubbed where they are missing. FLOPs: 6 per active matrix parameter and token and causal attention, as in
spec/flops.h. Prints one line: ms, tokens/s, TFLOP/s, peak GiB."""
import argparse
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import time
import types

import torch

SEQUENCE, BATCH = 4096, 4
SHAPES = {
    'mixtral': dict(layers=2, hidden=4096, heads=32, groups=8, head=128, ffn=14336, experts=8, topk=2, vocabulary=32000),
    'qwen3': dict(layers=6, hidden=2048, heads=32, groups=4, head=128, ffn=768, experts=128, topk=8, vocabulary=151936),
}


def flops_per_token(s):
    attention = s['hidden'] * s['head'] * 2 * (s['heads'] + s['groups']) + s['heads'] * s['head'] * SEQUENCE
    moe = 3 * s['hidden'] * s['ffn'] * s['topk'] + s['hidden'] * s['experts']
    return 6 * (s['layers'] * (attention + moe) + s['hidden'] * s['vocabulary'])


def hf_model(name, s):
    from transformers import AutoModelForCausalLM, MixtralConfig, Qwen3MoeConfig
    same = dict(num_hidden_layers=s['layers'], vocab_size=s['vocabulary'], hidden_size=s['hidden'], num_attention_heads=s['heads'],
                num_key_value_heads=s['groups'], num_experts_per_tok=s['topk'], use_cache=False)
    if name == 'mixtral':
        config = MixtralConfig(intermediate_size=s['ffn'], num_local_experts=s['experts'], output_router_logits=False, **same)
    else:
        config = Qwen3MoeConfig(intermediate_size=6144, moe_intermediate_size=s['ffn'], head_dim=s['head'], num_experts=s['experts'],
                                norm_topk_prob=True, **same)
    with torch.device('cuda'):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation='sdpa')
    model.set_experts_implementation('grouped_mm')
    model.train()
    forward = torch.compile(model)
    return model, lambda tokens, labels: forward(input_ids=tokens, labels=labels).loss


class AnythingType(type):
    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return Anything

    def __getitem__(cls, key):
        return cls

    def __call__(cls, *args, **kwargs):
        if cls is Anything and len(args) == 1 and callable(args[0]) and not kwargs:
            return args[0]  # a decorator
        return super().__call__()


class Anything(metaclass=AnythingType):
    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return Anything


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules full of nothing, for imports whose content a step never touches."""

    def __init__(self, names):
        self.missing = {name for name in names if importlib.util.find_spec(name) is None}

    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in self.missing:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []

        def nothing(name):
            if name.startswith('__'):
                raise AttributeError(name)
            return Anything

        module.__getattr__ = nothing
        return module

    def exec_module(self, module):
        pass


def import_titan():
    sys.meta_path.append(Stubs(('tyro', 'torchdata', 'datasets', 'tokenizers', 'tensorboard', 'wandb', 'torchao', 'safetensors')))
    sys.path.insert(0, os.environ['TITAN'])
    import torch.distributed.fsdp._fully_shard._fsdp_common as common
    for name in ('ShardPlacementResult', 'FSDPMeshInfo'):  # newer than PyTorch 2.11, for expert parallelism alone
        if not hasattr(common, name):
            setattr(common, name, type(name, (), {}))


def titan_config(name, s):
    import dataclasses

    import torchtitan.models.qwen3 as family
    config = family.Qwen3Model.Config(
        vocab_size=s['vocabulary'], dim=s['hidden'], norm=family._qwen3_norm(s['hidden']),
        tok_embeddings=family.Embedding.Config(num_embeddings=s['vocabulary'], embedding_dim=s['hidden'], param_init=family._EMBEDDING_INIT),
        output=family.Linear.Config(in_features=s['hidden'], out_features=s['vocabulary'], param_init=family._output_linear_init(s['hidden'])),
        rope=family.RoPE.Config(dim=s['head'], max_seq_len=SEQUENCE, theta=1e6, backend='cos_sin'),
        layers=family._build_qwen3_moe_layers(n_layers=s['layers'], dim=s['hidden'], n_heads=s['heads'], n_kv_heads=s['groups'], head_dim=s['head'],
                                              moe_hidden_dim=s['ffn'], num_experts=s['experts'], top_k=s['topk']))
    if name == 'mixtral':
        for layer in config.layers:
            for field in dataclasses.fields(layer.attention):
                if field.name in ('qk_norm', 'q_norm', 'k_norm'):
                    setattr(layer.attention, field.name, None)
    return config, family.parallelize_qwen3


def titan_model(name, s, f32):
    import_titan()
    from torchtitan.components.loss import build_cross_entropy_loss
    from torchtitan.config import ActivationCheckpointConfig, CompileConfig, ParallelismConfig, TrainingConfig
    from torchtitan.tools import utils
    compiling = CompileConfig(enable=True, components=['model', 'loss'])
    config, parallelize = titan_config(name, s)
    with torch.device('meta'), utils.set_default_dtype(torch.float32 if f32 else torch.bfloat16):
        model = config.build()
    if f32:
        from torchtitan.distributed import ParallelDims
        from torchtitan.protocols.model_converter import ModelConvertersContainer
        os.environ.update(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(29500 + os.getpid() % 1000))
        torch.cuda.set_device(0)
        torch.distributed.init_process_group('nccl')
        parallelism = ParallelismConfig()
        dims = ParallelDims.from_config(parallelism, 1)
        dims.build_mesh()
        model = parallelize(model, parallel_dims=dims, training=TrainingConfig(local_batch_size=BATCH, seq_len=SEQUENCE),
                            model_converters=ModelConvertersContainer.Config(), parallelism=parallelism, compile_config=compiling,
                            ac_config=ActivationCheckpointConfig(mode='none'), dump_folder=tempfile.gettempdir())
    else:
        import torchtitan.distributed.compile as compile_module
        if hasattr(compile_module, 'apply_compile'):
            compile_module.apply_compile(model, compiling)
        else:
            compile_module.apply_compile_sparse(model, compiling, False)
    model.to_empty(device='cuda')
    with torch.no_grad():
        (model.init_weights if hasattr(model, 'init_weights') else model.init_states)(buffer_device=None)
        if not f32:  # a truncated normal drawn in bf16 has outliers that send most tokens to one expert
            for key, parameter in model.named_parameters():
                if parameter.ndim > 1:
                    parameter.normal_(0, 1.0 if 'tok_embeddings' in key else config.dim**-0.5 if key.startswith('output') else 0.02)
    model.train()
    loss_of = build_cross_entropy_loss(compiling)
    return model, lambda tokens, labels: loss_of(model(tokens), labels) / labels.numel()


def measure(name, stack, vocabulary, accumulate, steps):
    torch.manual_seed(0)
    s = dict(SHAPES[name])
    if vocabulary:
        s['vocabulary'] = vocabulary
    model, loss = hf_model(name, s) if stack == 'hf' else titan_model(name, s, stack == 'titan-f32')
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ids = torch.randint(0, s['vocabulary'], (BATCH, SEQUENCE + 1), device='cuda')
    tokens, labels = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    gc.disable()
    times = []
    warm = 4
    for i in range(warm + steps):
        if i == warm:
            torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(accumulate):
            (loss(tokens, labels) / accumulate).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    median = sorted(times[warm:])[steps // 2]
    count = BATCH * SEQUENCE * accumulate
    print(f'peer {name} {stack} vocabulary={s["vocabulary"]} accumulate={accumulate}: {median * 1e3:.1f} ms, {count / median:.0f} tokens/s, '
          f'{flops_per_token(s) * count / median / 1e12:.0f} TFLOP/s, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, '
          f'first step {times[0]:.0f} s, PyTorch {torch.__version__}', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('model', choices=sorted(SHAPES))
    parser.add_argument('stack', choices=['hf', 'titan', 'titan-f32'])
    parser.add_argument('--vocabulary', type=int)
    parser.add_argument('--accumulate', type=int, default=1)
    parser.add_argument('--steps', type=int, default=9)
    arguments = parser.parse_args()
    measure(arguments.model, arguments.stack, arguments.vocabulary, arguments.accumulate, arguments.steps)
