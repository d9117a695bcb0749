"""Peer of bench/cuda/grouped_speed.cu: PyTorch's grouped products at the same shapes, with the dense product as the ceiling of the
same run. Prints TFLOP/s, medians by CUDA events."""
import time

import torch

torch.manual_seed(0)


def median_ms(run, repeats=15):
    torch.cuda.synchronize()
    time.sleep(0.1)  # as grouped_speed does: no product pays with its clock for those before it
    for _ in range(3):
        run()
    times = []
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[len(times) // 2]


def normal(*shape):
    return torch.randn(*shape, device='cuda', dtype=torch.bfloat16)


def dense_ceiling():
    a, b = normal(8192, 8192), normal(8192, 8192)
    return 2 * 8192**3 / median_ms(lambda: a @ b.t()) / 1e9


print(torch.__version__, torch.cuda.get_device_name())
print(f'dense 8192 cubed: {dense_ceiling():.0f} TFLOP/s')
for name, rows, experts, n, k in [('qwen3 fc1', 131072, 128, 1536, 2048), ('qwen3 fc2', 131072, 128, 2048, 768),
                                  ('mixtral fc1', 32768, 8, 28672, 4096), ('mixtral fc2', 32768, 8, 4096, 14336)]:
    shares = torch.rand(experts) + 0.5
    counts = (shares / shares.sum() * rows).long()
    counts[-1] += rows - counts.sum()
    offsets = counts.cumsum(0).to('cuda', torch.int32)
    x, w, dy = normal(rows, k), normal(experts, n, k), normal(rows, n)
    flops = 2 * rows * n * k / 1e9
    forward = flops / median_ms(lambda: torch._grouped_mm(x, w.transpose(1, 2), offs=offsets))
    dx = flops / median_ms(lambda: torch._grouped_mm(dy, w, offs=offsets))
    dw = flops / median_ms(lambda: torch._grouped_mm(dy.t(), x, offs=offsets))
    print(f'{name}: forward {forward:.0f} dx {dx:.0f} dw (bf16, not added) {dw:.0f}')
    del x, w, dy
