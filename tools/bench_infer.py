"""Translating pictures: ours against the reference's algorithm in plain PyTorch, interleaved in one process.

    uv run python tools/bench_infer.py [--generators resnet_9blocks unet_256] [--sizes 256] [--batches 1] [--precisions fp32]
        [--convolution auto full direct winograd] [--also runtime-onnx compile onnxruntime openvino] [--rounds 7]
        [--device auto] [--threads 1] [--json FILE]

From an array of bytes to an array of bytes. "ours" is what `translate convert` runs between reading and writing; "double" is
that of `tests/parity`, written from the published rules of the reference implementation, in float32, channels first. --also
shows ours by `--runtime onnx`, and the double in torch.compile, ONNX Runtime and OpenVINO, where they are installed. The
weights are random, scaled so that maps keep their variance: a network at its start gives nearly the same for all pixels.

Seconds an image: medians over rounds of one after the other, whose order alternates, and the median of the rounds' ratios; on
the CPU those of the processor, since others may be at work on the machine. MiB: at most, above what was held before, in a
process of its own on the CPU (Linux only: it reads /proc). Difference: the largest in [-1, 1] between the networks, and the
share of bytes that are not the same, of which none may be off by more than one in float32.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from bench_common import (
    CONVOLUTION_WAYS,
    convolution_settings,
    load_double,
    parse_arguments,
    proc_status_bytes,
    reset_peak_memory,
    run_in_new_process,
    write_rows,
)
from torch import nn

from translate import api, config
from translate.methods import METHODS
from translate.trained.folder import write_trained_model

double = load_double()


@dataclass(frozen=True)
class InferenceCase:
    """One row."""

    generator: str
    size: int
    batch: int
    precision: str = "fp32"
    convolution: str = "auto"

    def __str__(self):
        return (
            f"{self.generator}, {self.size} px, batch {self.batch}, {self.precision}, {self.convolution} convolutions"
        )

    @property
    def method(self):
        return "pix2pix" if self.generator.startswith("unet") else "cyclegan"


def written(case, folder):
    """Write a model folder."""
    cls = METHODS[case.method]
    crop = 256 if case.method == "pix2pix" else 64
    cfg = cls.resolve_config(
        config.resolve(
            cls.Config, ("bench", {"generator": case.generator, "crop_size": crop, "load_size": crop, "dropout": False})
        )
    )
    method = cls(cfg)
    torch.manual_seed(0)
    for name, weight in method.named_parameters():
        if weight.ndim == 4:
            nn.init.kaiming_normal_(weight)
            if name.endswith(("model.26.weight", "model.model.3.weight")):  # the last: tanh is not to be saturated
                weight.data.mul_(0.3)
    folder.mkdir()
    write_trained_model(folder, method, title="random", seen=0)
    return folder


def pictures(case):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (case.batch, case.size // 8, case.size // 8, 3)).repeat(8, 1).repeat(8, 2)
    return list(((coarse + rng.integers(0, 64, coarse.shape)) % 256).astype(np.uint8))


class OurTranslator:
    def __init__(self, case, folder, device):
        self.translator = api.load(
            folder, device=str(device), precision=case.precision, **convolution_settings(case.convolution)
        )
        self.info = self.translator.info

    def __call__(self, pictures):
        return self.translator.translate_pixels(pictures, "b")


class OursByOnnxRuntime(OurTranslator):
    """Runs `--runtime onnx`; the file is exported to the cache folder of the case."""

    def __init__(self, case, folder, device):
        os.environ["XDG_CACHE_HOME"] = str(folder.parent / "cache")
        self.translator = api.load(folder, device="cpu", runtime="onnx", say=None)
        self.translator.check_target("b")


class ReferenceTranslator:
    """Network of the reference's test.py, which stays in training mode."""

    def __init__(self, case, folder, device):
        given = api.load(folder, device="cpu").method
        net, cfg = given.generator_for("b"), given.cfg
        self.net = double.generator(case.generator, 3, 3, cfg.g_width, cfg.norm, False)
        self.net.load_state_dict(net.state_dict())
        self.net.to(device)
        self.device, self.run = device, self.net

    def __call__(self, pictures):
        x = torch.from_numpy(np.stack(pictures)).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            y = self.run(x.contiguous())
        return list(((y + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


class CompiledReference(ReferenceTranslator):
    def __init__(self, case, folder, device):
        super().__init__(case, folder, device)
        self.run = torch.compile(self.net)


class ExportedReference(ReferenceTranslator):
    """Runs an ONNX file of the double."""

    def __init__(self, case, folder, device):
        super().__init__(case, folder, device)
        path = str(folder / f"{case.size}-{case.batch}.onnx")
        x = torch.zeros(case.batch, 3, case.size, case.size)
        torch.onnx.export(self.net.cpu(), (x,), path, dynamo=True, verbose=False)
        self.device, self.run = torch.device("cpu"), self.opened(path)


class OnnxRuntime(ExportedReference):
    def opened(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


class OpenVino(ExportedReference):
    def opened(self, path):
        import openvino

        core = openvino.Core()
        asked = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
        compiled = core.compile_model(core.read_model(path), "CPU", asked)
        return lambda x: torch.from_numpy(compiled(x.numpy())[0])


ALSO = {
    "runtime-onnx": OursByOnnxRuntime,
    "compile": CompiledReference,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
}


def timed(translate, pictures, device):
    """Seconds an image."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    begun = clock()
    translate(pictures)  # its bytes are on the host: nothing is left to wait for
    return (clock() - begun) / len(pictures)


def compare(case, folder, device, rounds, also):
    given = pictures(case)
    them = {"double": ReferenceTranslator(case, folder, device), "ours": OurTranslator(case, folder, device)}
    them |= {name: ALSO[name](case, folder, device) for name in also}
    results = {name: one(given) for name, one in them.items()}
    for one in them.values():
        one(given)
    seconds = {name: [] for name in them}
    for n in range(rounds):
        for name in list(them)[:: 1 if n % 2 else -1]:
            seconds[name].append(timed(them[name], given, device))
    row = {"seconds": {name: statistics.median(found) for name, found in seconds.items()}}
    row["ratios"] = {
        name: statistics.median(base / one for base, one in zip(seconds["double"], found, strict=True))
        for name, found in seconds.items()
    }
    apart = np.abs(np.stack(results["ours"]).astype(int) - np.stack(results["double"]))
    return row | {"bytes": float((apart > 0).mean()), "most": int(apart.max()), "values": values(them, given, device)}


def values(them, given, device):
    """Return the largest difference of the networks' own outputs."""
    x = torch.from_numpy(np.stack(given)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = them["double"].net.to(device)(x.to(device)).cpu()
    return float((them["ours"].translator(x) - expected).abs().max())


def peak(case, who, device):
    """MiB."""
    return run_in_new_process(__file__, {"case": asdict(case), "who": who, "device": str(device)})


def print_peak(asked):
    torch.set_num_threads(asked["threads"])
    case, device = InferenceCase(**asked["case"]), torch.device(asked["device"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = written(case, Path(temporary) / "model")
        one = {"ours": OurTranslator, "double": ReferenceTranslator}[asked["who"]](case, folder, device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            one(pictures(case))
            print(torch.cuda.max_memory_allocated(device) / 2**20)
            return
        reset_peak_memory()
        before = proc_status_bytes("VmRSS")
        one(pictures(case))
        print((proc_status_bytes("VmHWM") - before) / 2**20)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", nargs="+", default=["resnet_9blocks", "unet_256"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[256])
    parser.add_argument("--batches", nargs="+", type=int, default=[1])
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--convolution", nargs="+", default=["auto"], choices=CONVOLUTION_WAYS)
    parser.add_argument("--also", nargs="*", default=[], choices=ALSO)
    args = parse_arguments(parser)
    if args.peak is not None:
        print_peak(args.peak)
        return
    device = args.device
    more = "".join(f" {name} |" for name in args.also)
    print(f"| network | double, s | ours, s | ratio |{more} MiB, double | ours | largest difference | bytes apart |")
    print("|" + "---|" * (8 + len(args.also)), flush=True)
    rows = []
    for generator, size, batch, precision, way in itertools.product(
        args.generators, args.sizes, args.batches, args.precisions, args.convolution
    ):
        case = InferenceCase(generator, size, batch, precision, way)
        with tempfile.TemporaryDirectory() as temporary:
            row = compare(case, written(case, Path(temporary) / "model"), device, args.rounds, args.also)
        row |= {"case": asdict(case), "memory": {who: peak(case, who, device) for who in ("double", "ours")}}
        rows.append(row)
        print(table_row(case, row, args.also), flush=True)
        write_rows(args, rows)


def table_row(case, row, also):
    cells = [
        str(case),
        f"{row['seconds']['double']:.4g}",
        f"{row['seconds']['ours']:.4g}",
        f"**{row['ratios']['ours']:.2f}**",
    ]
    cells += [f"{row['ratios'][name]:.2f}" for name in also]
    cells += [f"{row['memory'][who]:.0f}" for who in ("double", "ours")]
    return "| " + " | ".join([*cells, f"{row['values']:.0e}", f"{100 * row['bytes']:.3f} % by {row['most']}"]) + " |"


if __name__ == "__main__":
    main()
