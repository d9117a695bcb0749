"""Opens model directories and compares their logits with stored ones: DIR=FOLDER_OF_REFERENCE ..."""

import io
import logging
import sys

import torch
import transformers
from safetensors.torch import load_file


def fault_of(folder, reference):
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    transformers.utils.logging.get_logger("transformers").addHandler(handler)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    transformers.utils.logging.get_logger("transformers").removeHandler(handler)
    complaints = {key: value for key, value in info.items() if value}
    if complaints or heard.getvalue():
        return f"{complaints} {heard.getvalue()}"
    stored = load_file(f"{reference}/reference.safetensors")
    with torch.no_grad():
        logits = model.eval()(input_ids=stored["input_ids"], use_cache=False).logits
    difference = (logits - stored["logits"]).abs().max().item()
    return None if difference <= 2e-5 else f"logits are off by {difference}"


faults = 0
for pair in sys.argv[1:]:
    folder, reference = pair.split("=")
    fault = fault_of(folder, reference)
    print(folder, fault or "ok")
    faults += fault is not None
sys.exit(1 if faults else 0)
