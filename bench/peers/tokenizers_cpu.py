"""Encodes one text with Hugging Face tokenizers (encode_batch) and with Conclave, on the same threads, in one run.

    python bench/peers/tokenizers_cpu.py --conclave build/cpu/bench/encode_text [--megabytes 20] [--threads 2]
    python bench/peers/tokenizers_cpu.py --preprocess build/cpu/conclave ...

The second form times `conclave preprocess` end to end, as a process: start, reading the JSONL file, encoding, writing .bin and .idx.
The peer's time is that of encode_batch alone on documents that are in memory already.

Needs the Python package tokenizers. Without --text, English prose is collected from the documents that this machine has. Without
--tokenizer, two tokenizers are trained on it: "gpt2" (byte-level, the GPT-2 word pattern) and "llama3" (a Llama 3 pattern before the
bytes, ignore_merges). The ids of both sides are compared; a difference ends the run with an error.
"""

import argparse
import array
import ast
import hashlib
import json
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def paragraphs_of(path):
    """Paragraphs of prose: mostly letters, at least 80 characters."""
    text = path.read_text(errors="ignore")
    if path.suffix == ".py":
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        text = "\n\n".join(filter(None, (ast.get_docstring(n) for n in ast.walk(tree) if isinstance(n, kinds))))
    elif path.suffix == ".html":
        text = re.sub(r"<[^>]*>", "", text)
    for paragraph in re.split(r"\n\s*\n", text):
        if len(paragraph) < 80:
            continue
        if sum(c.isascii() and (c.isalpha() or c == " ") for c in paragraph) > 0.85 * len(paragraph):
            yield paragraph.strip("\n")


def collect(size):
    roots = ["/usr/share/doc", "/usr/share/perl", "/usr/share/info", "/usr/lib/python3", sys.prefix + "/lib", "/usr/lib"]
    seen, out, total = set(), [], 0
    for root in roots:
        for path in sorted(pathlib.Path(root).rglob("*")):
            if path.suffix not in (".txt", ".md", ".rst", ".pod", ".html", ".py") or not path.is_file():
                continue
            for paragraph in paragraphs_of(path):
                digest = hashlib.md5(paragraph.encode()).digest()
                if digest in seen:
                    continue
                seen.add(digest)
                out.append(paragraph)
                total += len(paragraph.encode()) + 2
            if total >= size:
                return "\n\n".join(out)[:size]
    return "\n\n".join(out)[:size]


def documents_of(text, size=4000):
    """Documents of about `size` characters that end at a paragraph's end."""
    documents, part, length = [], [], 0
    for paragraph in text.split("\n\n"):
        part.append(paragraph)
        length += len(paragraph) + 2
        if length >= size:
            documents.append("\n\n".join(part))
            part, length = [], 0
    if part:
        documents.append("\n\n".join(part))
    return documents


def train(kind, documents, path):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    if kind == "gpt2":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=50257,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.save(str(path))


def peer(path, documents, repeats):
    from tokenizers import Tokenizer

    best, processors, ids = 1e30, 1e30, None
    for _ in range(repeats):
        tokenizer = Tokenizer.from_file(str(path))
        start, start_processors = time.perf_counter(), time.process_time()
        encodings = tokenizer.encode_batch(documents, add_special_tokens=False)
        best = min(best, time.perf_counter() - start)
        processors = min(processors, time.process_time() - start_processors)
        ids = [e.ids for e in encodings]
        del encodings
    return best, processors, ids


def digest_of(ids):
    digest, count = hashlib.sha256(), 0
    for document in ids:
        digest.update(b"".join(i.to_bytes(4, "little") for i in document))
        count += len(document)
    return count, digest.hexdigest()


def preprocess(program, path, jsonl, threads, repeats, folder):
    """Best seconds on the clock and of the processors, and the ids of each document without its end token."""
    prefix = folder / "preprocessed"
    command = [program, "preprocess", "--input", jsonl, "--tokenizer-type", "HuggingFaceTokenizer", "--tokenizer-model", path]
    command += ["--append-eod", "--workers", str(threads), "--output-prefix", prefix]
    best, processors = 1e30, 1e30
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors = min(processors, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    index = pathlib.Path(f"{prefix}_text_document.idx").read_bytes()
    code, count = index[17], int.from_bytes(index[18:26], "little")
    lengths = array.array("i", index[34 : 34 + 4 * count])
    tokens = array.array({8: "H", 4: "i"}[code], pathlib.Path(f"{prefix}_text_document.bin").read_bytes())
    ids, at = [], 0
    for length in lengths:
        ids.append(tokens[at : at + length - 1].tolist())
        at += length
    return {"seconds": best, "processor_seconds": processors}, ids


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--conclave", help="the program encode_text")
    form.add_argument("--preprocess", help="the program conclave")
    parser.add_argument("--text")
    parser.add_argument("--tokenizer", action="append", default=[])
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", help="where to keep text and tokenizers (default: a temporary one)")
    arguments = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    import tokenizers

    folder = pathlib.Path(arguments.folder or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    size = int(arguments.megabytes * 1e6)
    kept = folder / "text.txt"
    if arguments.text:
        text = pathlib.Path(arguments.text).read_text(errors="replace")[:size]
    elif kept.exists():
        text = kept.read_text()
    else:
        text = collect(size)
        kept.write_text(text)
    documents = documents_of(text)
    jsonl = folder / "documents.jsonl"
    with open(jsonl, "w") as file:
        file.writelines(json.dumps({"text": d}) + "\n" for d in documents)
    megabytes = sum(len(d.encode()) for d in documents) / 1e6
    print(f"{len(documents)} documents, {megabytes:.1f} MB; {arguments.threads} threads; {platform.machine()}; tokenizers {tokenizers.__version__}")

    paths = [pathlib.Path(p) for p in arguments.tokenizer]
    for kind in [] if paths else ["gpt2", "llama3"]:
        path = folder / f"{kind}.json"
        if not path.exists():
            train(kind, documents, path)
        paths.append(path)
    for path in paths:
        seconds, processors, ids = peer(path, documents, arguments.repeats)
        count, digest = digest_of(ids)
        if arguments.preprocess:
            ours, written = preprocess(arguments.preprocess, path, jsonl, arguments.threads, arguments.repeats, folder)
            ours["tokens"], ours["sha256"] = digest_of(written)
        else:
            command = [arguments.conclave, str(path), str(jsonl), str(arguments.threads), str(arguments.repeats)]
            ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        same = ours["tokens"] == count and ours["sha256"] == digest
        print(
            f"{path.name:24} {count:9} tokens, ids {'equal' if same else 'DIFFER'}\n"
            f"    peer      {seconds:7.3f} s  {megabytes / seconds:6.1f} MB/s   {processors:7.3f} processor seconds\n"
            f"    conclave  {ours['seconds']:7.3f} s  {megabytes / ours['seconds']:6.1f} MB/s   {ours['processor_seconds']:7.3f} processor seconds\n"
            f"    ratio     {seconds / ours['seconds']:7.2f}                  {processors / ours['processor_seconds']:7.2f}"
        )
        if not same:
            sys.exit(1)


if __name__ == "__main__":
    main()
