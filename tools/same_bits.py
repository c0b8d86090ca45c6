"""Compare a commit with the working tree: the same trainings, conversions and evaluations must give the same bits.

    uv run python tools/same_bits.py BASE            about 6 minutes on 2 cores
    uv run python tools/same_bits.py BASE --quick    three methods and ten files: about a minute

BASE is checked out beside the working tree. Both run the same commands at the same time, on the same data (which is made
here) and with one thread each, by the command line alone: the modules inside the package may have any names. Then all that
they wrote is compared: weights, training states, losses, sample grids, decoded pixels, EXIF, XMP, ICC, manifests, metrics.
One line a comparison; exit code 0 where all is equal, 1 where something differs or a command fails.

Left out: what depends on the clock or the memory, wording (error messages, notices), and the version. A setting or a key
that the working tree adds is noted and is no difference; one that it drops or changes is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from outputs import ASPECTS, compare
from PIL import Image, ImageCms, PngImagePlugin

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "images": 12, "crop_size": 32, "load_size": 36, "g_width": 4, "d_width": 4, "pool_size": 3, "n_critic": 1,
    "log_every": 2, "sample_every": 6, "device": "cpu", "threads": 1, "precision": "fp32",
}  # fmt: skip
"""Flags of every training, as far as the method has them."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ema, fp64, accumulate": ("cyclegan", {"ema_half_life": 6, "precision": "fp64", "batch_size": 4, "accumulate": 2}),
    "batch norm": ("pix2pix", {"norm": "batch", "dropout": "on", "diffaugment": "color,translation", "batch_size": 2,
                               "generator": "resnet_6blocks"}),
    "augment, b2a": ("cyclegan", {"augment": "rotate,affine,color", "direction": "b2a", "resize": "torch"}),
    "stream": ("cyclegan", {"loader": "stream", "workers": 2, "albumentations": "recipe.yaml", "sampling": "permute-both"}),
    "wgan-gp, bf16": ("pix2pix", {"adversarial": "wgan-gp", "norm": "instance", "precision": "bf16", "preprocess": "crop",
                                  "crop_size": 64, "load_size": 70}),
    "relativistic": ("cyclegan", {"adversarial": "relativistic", "gradient_checkpointing": "on", "decay_images": 6,
                                  "diffaugment": "color,translation,cutout", "penalty_every": 2}),
    "grey": ("cyclegan", {"input_channels": 1, "output_channels": 1, "images": 6}),
    "virtual batch norm": ("dcgan", {"virtual_batch_norm": "on", "reference_size": 4, "ema_half_life": 6}),
    "validation": ("pix2pix", {"evaluate_every": 4, "save_every": 4, "precision": "fp64", "batch_size": 2}),
    "unpaired validation": ("cyclegan", {"evaluate_every": 6, "ema_half_life": 6, "evaluate_metrics": "swd"}),
}  # fmt: skip
SPLITS = {"train": 7, "val": 3, "test": 3}
"""Images of each."""
FORMATS = ("png", "jpg", "webp", "avif", "tiff", "gif", "npy")
METRICS = "l1,psnr,ssim,swd,checkerboard,colour,edge_correlation,fgsm"
QUICK, QUICK_VARIANTS = ("pix2pix", "cyclegan", "dcgan"), ("ema, fp64, accumulate", "batch norm")

PIN, PINNED = ["--convolution", "winograd"], ("train", "convert", "evaluate", "sample")
"""Flag of these commands: else each side would take what is faster by its own clock."""

DRIVER = """
import json, os, runpy, subprocess, sys
import translate
assert translate.__file__.startswith(sys.argv[1]), translate.__file__
codes = {}
for n, (name, words, processes) in enumerate(json.load(open("jobs.json"))):
    log = os.open(f"{n}.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1), os.dup2(log, 2)
    try:
        if processes > 1:
            run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            codes[name] = subprocess.run([*run, "-m", "--", "translate", *words]).returncode
        else:
            sys.argv = ["translate", *words]
            runpy.run_module("translate", run_name="__main__", alter_sys=False)
            codes[name] = 0
    except SystemExit as e:
        codes[name] = e.code or 0
    except BaseException as e:
        codes[name] = repr(e)
    sys.stdout.flush(), sys.stderr.flush(), os.close(log)
    json.dump(codes, open("codes.json", "w"))
"""
"""Runs commands one after another in one process, since to import torch takes longer than most of them."""

KNOWN = """
import json
from translate.methods import METHODS
print(json.dumps({name: {"layout": m.layout, "flags": {k: f.default for k, f in m.Config.__dataclass_fields__.items()}}
                  for name, m in METHODS.items()}))
"""


# Data.


def photo(seed: int, width: int = 40, height: int = 40) -> np.ndarray:
    """Return a smooth RGB image (H, W, 3), the same for the same seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def make_data(folder: Path, quick: bool) -> None:
    """Write a data set of each layout, `odd/` with files of all kinds (`quick`: ten), and `large/`."""
    kinds = {"paired": [""], "unpaired": ["A", "B"], "domains": ["/black", "/blond"], "images": [""]}
    places = [
        folder / name / f"{split}{kind}" / f"{n}.png"
        for name in kinds for split, count in SPLITS.items() for n in range(count) for kind in kinds[name]
    ]  # fmt: skip
    for seed, path in enumerate(places):
        image = photo(seed, 72, 72)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.hstack([image, 255 - image]) if "paired" in path.parts else image).save(path)
    (folder / "recipe.yaml").write_text("transforms:\n  - RandomBrightnessContrast: {p: 0.5}\n  - Blur: {p: 0.5}\n")
    (folder / "large").mkdir()
    Image.fromarray(photo(1, 170, 150)).save(folder / "large" / "large.png")
    make_odd(folder / "odd")
    paths = sorted(path for path in (folder / "odd").rglob("*") if path.is_file())
    for path in paths if quick else ():
        if path not in paths[:: len(paths) // 10]:
            path.unlink()


def make_odd(folder: Path) -> None:
    """About seventy files: every format that is read, with all depths, modes and kinds of metadata; some are no images."""
    (folder / "sub").mkdir(parents=True)
    rgb, grey = photo(50, 30, 22), photo(51, 30, 22)[:, :, 0].copy()
    alpha = np.tile(np.linspace(0, 255, 30).astype(np.uint8), (22, 1))
    rgba, deep = np.dstack([rgb, alpha]), (rgb.astype(np.uint16) * 257 + 3)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = (b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
           b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements'
           b'/1.1/" dc:format="image/test" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="52,31.7N"/></rdf:RDF>'
           b'</x:xmpmeta><?xpacket end="w"?>')  # fmt: skip

    def exif(orientation: int) -> Image.Exif:
        made = Image.Exif()
        made[0x010F], made[0x0112] = "Kamera", orientation
        made.get_ifd(0x8769).update({0x9003: "2024:01:02 03:04:05", 0xA002: 30, 0xA003: 22, 0x927C: b"\1NOTE" * 9})
        made.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.5)})
        return made

    def save(name: str, pixels: Any, **options: Any) -> None:
        (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(folder / name, **options)

    image, text = Image.fromarray(rgb), PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    text.add_text("Title", "a picture")
    frames = [Image.fromarray(photo(60 + n, 30, 22)) for n in range(3)]
    clear = [Image.fromarray(np.dstack([frame, np.where(alpha > 99, 255, 0).astype(np.uint8)])) for frame in frames[:2]]
    moving = {"save_all": True, "append_images": frames[1:], "duration": [40, 60, 80], "loop": 2}
    plain = {"rgb": ("png jpg webp avif bmp ppm gif tif", rgb, {}), "grey": ("png jpg webp pgm tif", grey, {}),
             "alpha": ("png webp tif avif", rgba, {}), "turned": ("png webp tif avif jpg", rgb, {"exif": exif(5)}),
             "profile": ("png webp tif avif", rgb, {"icc_profile": icc}), "moving": ("gif webp png tif", frames[0], moving),
             "sub/clash": ("png bmp jpg", photo(5, 21, 20), {})}  # fmt: skip
    for name, (extensions, pixels, options) in plain.items():
        for ext in extensions.split():
            save(f"{name}.{ext}", pixels, **options)
    for n in (2, 3, 6, 8):
        save(f"turned-{n}.jpg", rgb, exif=exif(n), xmp=xmp, icc_profile=icc)
    for name, pixels, options in (
        ("lossless.webp", rgba, {"lossless": True}), ("grey-alpha.png", Image.fromarray(rgba).convert("LA"), {}),
        ("bilevel.png", image.convert("1"), {}), ("bilevel.tif", image.convert("1"), {"compression": "group4"}),
        ("palette.png", image.quantize(16), {}), ("palette.tif", image.quantize(16), {}),
        ("palette-transparent.png", image.quantize(16), {"transparency": 3}), ("SHOUTED.PNG", rgb, {}),
        ("colour-key.png", image, {"transparency": tuple(map(int, rgb[3, 3]))}), ("cmyk.tif", image.convert("CMYK"), {}),
        ("cmyk.jpg", image.convert("CMYK"), {}), ("progressive.jpg", rgb, {"progressive": True, "subsampling": 2}),
        ("lzw.tif", rgb, {"compression": "tiff_lzw"}), ("jpeg.tif", rgb, {"compression": "jpeg"}),
        ("described.png", rgb, {"pnginfo": text, "dpi": (300, 300)}), ("grey16.png", deep[:, :, 0].copy(), {}),
        ("moving-clear.gif", clear[0], {"save_all": True, "append_images": clear[1:], "duration": 50, "disposal": 2}),
        ("dot.png", rgb[:1, :1], {}), ("thin.png", photo(9, 3, 70), {}),
    ):  # fmt: skip
        save(name, pixels, **options)
    cv2.imwrite(str(folder / "rgb16.png"), deep)
    cv2.imwrite(str(folder / "rgba16.png"), np.dstack([deep, alpha.astype(np.uint16) * 257]))
    real, colour = rgb / np.float32(255), {"photometric": "rgb"}
    for name, pixels, options in (
        ("rgb16.tif", deep, {**colour, "byteorder": ">"}), ("float.tif", real, colour), ("grey-float.tif", real[:, :, 0], {}),
        ("planes.tif", rgb.transpose(2, 0, 1).copy(), {**colour, "planarconfig": "separate"}),
        ("tiles.tif", rgb, {**colour, "tile": (16, 16), "compression": "zlib"}),
    ):  # fmt: skip
        tifffile.imwrite(folder / name, pixels, metadata=None, **options)
    for name, values in zip("abcde", (rgb, grey, deep, real, np.dstack([rgb, rgb])), strict=True):
        np.save(folder / f"array-{name}.npy", values)
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "cut-off.jpg").write_bytes((folder / "rgb.jpg").read_bytes()[:400])
    (folder / "refused.psd").write_bytes(b"8BPS")
    (folder / "notes.txt").write_text("no image")


# Jobs.


@dataclass(frozen=True)
class Job:
    name: str
    words: list[str]
    place: str = ""
    """Folder or file that it writes, which is compared; empty: nothing."""
    processes: int = 1
    codes: tuple[int, ...] = (0,)
    """Exit codes that are expected."""


def training(known: dict[str, Any], data: Path, method: str, name: str = "", processes: int = 1, **flags: Any) -> Job:
    own = known[method]["flags"]
    small = {**SMALL, "batch_size": min(own["batch_size"], 2)}
    if str(own.get("generator")).startswith(("resnet_", "antialias_")):
        small["generator"] = str(own["generator"]).replace("9blocks", "6blocks")
    if method == "discogan":
        small |= {"crop_size": 64, "load_size": 70}
    chosen = {**{key: value for key, value in small.items() if key in own}, **flags}
    place = "runs/" + f"{method} {name}".strip().replace(", ", "-").replace(" ", "-")
    words = [word for key, value in chosen.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    words = [str(data / word) if word.endswith(".yaml") else word for word in words]
    root = str(data / known[method]["layout"])
    return Job(f"train {method} {name}".strip(), ["train", method, root, "--run", place, *words], place, processes)


def make_jobs(known: dict[str, Any], data: Path, quick: bool) -> list[Job]:
    """List what both sides run, in this order."""
    jobs = [training(known, data, method) for method in known]
    for name, (method, flags) in VARIANTS.items():
        if method in known and (not quick or name in QUICK_VARIANTS):
            jobs.append(training(known, data, method, name, **flags))
    for images in (5, 12):
        part = training(known, data, "cyclegan", "resumed", images=images, ema_half_life=6, save_every=4)
        jobs.append(replace(part, name=f"{part.name}, to image {images}", place=part.place if images == 12 else ""))
    if not quick:
        jobs.append(training(known, data, "cyclegan", "2 processes", 2, ema_half_life=6, images=8))
    odd, files = str(data / "odd"), (0, 1)

    def add(name: str, model: str, out: str, *flags: str, source: str = odd, codes: tuple[int, ...] = files) -> None:
        words = ["convert", model if "/" in model else f"runs/{model}", source, out, "--device", "cpu", *flags]
        jobs.append(Job(f"convert {name}", words, out, codes=codes))

    add("keep", "cyclegan", "keep")
    for fmt in ("tiff", "webp") if quick else FORMATS:
        add(fmt, "cyclegan", f"to-{fmt}", "--format", fmt)
    add("dropout, batch norm", "pix2pix-batch-norm", "dropout", "--seed", "3")
    if not quick:
        add("to a, flags", "cyclegan", "flags", "--to", "a", "--pixels", "reference", "--background", "#306090", "--strip-gps",
            "--first-frame", "--no-mark", "--quality", "70")  # fmt: skip
        add("running statistics, fp64", "pix2pix-batch-norm", "running", "--norm-statistics", "running", "--dropout", "off",
            "--precision", "fp64", "--source-type", "generated")  # fmt: skip
        add("grey", "cyclegan-grey", "grey")
        add("U-Net", "pix2pix", "unet")
        add("done already", "cyclegan", "keep")
        for shard in ("0/2", "1/2"):
            add(f"shard {shard}", "cyclegan", "sharded", "--shard", shard)
        add("merge", "cyclegan", "sharded", "--merge")
    add("tiles", "cyclegan", "tiled", "--tile", "64", source=str(data / "large"), codes=(0,))
    add("tiles, batch norm", "pix2pix-batch-norm", "tiled-norm", "--tile", "64", source=str(data / "large"), codes=(0,))
    add("report", "cyclegan", "report", "--report")
    if "stargan" in known:
        add("all domains", "stargan", "domains", "--to", "all")
    jobs.append(Job("export .pth", ["export", "runs/cyclegan", "exported/g.pth"], "exported"))
    add(".pth", "exported/g.pth", "reference", source=str(data / "large"), codes=(0,))
    jobs.append(Job("import .pth", ["import-weights", "exported/g.pth", "imported"], "imported"))
    jobs.append(Job("export fp16", ["export", "runs/cyclegan", "half", "--dtype", "fp16"], "half"))
    if "dcgan" in known:
        words = ["sample", "runs/dcgan", "noise", "--count", "5", "--seed", "2", "--device", "cpu"]
        jobs.append(Job("sample", words, "noise"))
    paired, unpaired, domains = str(data / "paired"), data / "unpaired", str(data / "domains")
    for name, words in {
        "pix2pix": ["runs/pix2pix", paired, "--metrics", METRICS],
        "cyclegan": ["runs/cyclegan", paired, "--metrics", f"{METRICS},cycle_psnr"],
        "stargan": ["runs/stargan", domains, "--metrics", "swd,colour", "--to", "blond"],
        "folders": [
            "--real",
            f"{unpaired}/trainA",
            "--fake",
            f"{unpaired}/trainB",
            "--metrics",
            "swd,colour",
            "--size",
            "32",
        ],
    }.items():
        if name in known or name == "folders":
            out = ["--out", f"{name}.json", "--device", "cpu"]
            jobs.append(Job(f"evaluate {name}", ["evaluate", *words, *out], f"{name}.json"))
    return jobs


@dataclass
class Side:
    """A checkout, the folder it works in, and the exit code of each job."""

    code: Path
    work: Path
    codes: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
        return {"cwd": self.work, "env": {**os.environ, "PYTHONPATH": str(self.code), **alone}}

    def known(self) -> dict[str, Any]:
        """Each method's layout and the defaults of its flags."""
        done = subprocess.run(
            [sys.executable, "-c", KNOWN], stdout=subprocess.PIPE, text=True, check=True, **self.options
        )
        return json.loads(done.stdout)

    def run(self, jobs: list[Job], *, pins: bool) -> None:
        """Run the jobs; `pins`: this side has `--convolution`, without which a side uses Winograd's algorithm."""
        words = {job.name: [*job.words, *PIN * (pins and job.words[0] in PINNED)] for job in jobs}
        (self.work / "jobs.json").write_text(json.dumps([(job.name, words[job.name], job.processes) for job in jobs]))
        subprocess.run([sys.executable, "-c", DRIVER, str(self.code)], check=False, **self.options)
        path = self.work / "codes.json"
        self.codes = json.loads(path.read_text()) if path.exists() else {}


def report(jobs: list[Job], base: Side, head: Side) -> int:
    """Print a line for each comparison; how many are not equal."""
    count = unequal = 0
    for number, job in enumerate(jobs):
        codes = [side.codes.get(job.name, "none: the process ended before") for side in (base, head)]
        rows = {"exit code": ([] if codes[0] == codes[1] else [f"{codes[0]}, now {codes[1]}"], [])}
        if bad := [code for code in codes if code not in job.codes]:
            log = head.work / f"{number}.log"
            tail = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
            rows["exit code"][0].append(f"is {bad[0]}, not {job.codes[0]}: " + " / ".join(tail))
        for aspect, read in ASPECTS.items() if job.place else ():
            ours, theirs = (read(side.work / job.place) for side in (base, head))
            if ours or theirs:
                rows[f"{aspect} ({len(ours)})"] = compare(ours, theirs, aspect in ("settings", "metrics"))
        if job.place and len(rows) == 1:
            rows["output"] = (["there is none"], [])
        for aspect, (differences, new) in rows.items():
            count, unequal = count + 1, unequal + bool(differences)
            print(f"{'DIFFERS' if differences else 'equal':<8} {job.name}: {aspect}", *(["+", *new[:5]] if new else []))
            for line in differences[:5]:
                print(f"           {line}")
            if len(differences) > 5:
                print(f"           and {len(differences) - 5} more")
    print(f"{count - unequal} of {count} equal")
    return unequal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="commit, tag or branch to compare the working tree with")
    parser.add_argument("--quick", action="store_true", help="three methods and ten files")
    parser.add_argument("--out", type=Path, help="new folder to work in, which is kept [default: a temporary one]")
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="same-bits-") as temporary:
        place = (args.out or Path(temporary)).resolve()
        place.mkdir(exist_ok=True)
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(place / "code"), args.base], check=True)
        try:
            base, head = Side(place / "code", place / "base"), Side(ROOT, place / "head")
            base.work.mkdir(), head.work.mkdir()
            make_data(place / "data", args.quick)
            with ThreadPoolExecutor(2) as both:
                methods, now = both.map(Side.known, (base, head))
                for name in methods.keys() ^ now.keys():
                    print(f"only in {'BASE' if name in methods else 'the working tree'}, not compared: {name}")
                shared = [name for name in methods if name in now and (name in QUICK or not args.quick)]
                jobs = make_jobs({name: methods[name] for name in shared}, place / "data", args.quick)
                pins = ("convolution" in known["cyclegan"]["flags"] for known in (methods, now))
                list(both.map(lambda side, pins: side.run(jobs, pins=pins), (base, head), pins))
            unequal = report(jobs, base, head)
        finally:
            subprocess.run([*git, "remove", "--force", str(place / "code")], check=True)
    print(f"in {time.monotonic() - started:.0f} s")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
