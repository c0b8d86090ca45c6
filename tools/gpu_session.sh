#!/usr/bin/env bash
# First session on a GPU, in order of worth: correctness, then timings, then ways to run the preset modern, then trainings.
#
#     tools/gpu_session.sh [OUT]                    all parts on CUDA; results in OUT [default: gpu-session]
#     DEVICE=cpu tools/gpu_session.sh [OUT]         rehearsal with tiny sizes, which needs no GPU
#     PARTS="gradients tests" tools/gpu_session.sh  some parts only
#
# Each part has a time limit in seconds, and one that fails or is cut short does not stop the others. OUT/rows.md has the tables
# for docs/benchmarks.md, with the command of each; OUT/PART.log all that a part printed. BUDGET (seconds, default 840; 7200 for
# a rehearsal, whose parts may take ten times their limits) ends the session: a part that would begin later is left out. PYTHON is
# the interpreter with the package and its extras.
set -uo pipefail
cd "$(dirname "$0")/.."
DEVICE=${DEVICE:-cuda}
OUT=$(mkdir -p "${1:-gpu-session}" && cd "${1:-gpu-session}" && pwd)
PYTHON=${PYTHON:-python}
BUDGET=${BUDGET:-$([[ $DEVICE == cpu ]] && echo 7200 || echo 840)}
PATIENCE=$([[ $DEVICE == cpu ]] && echo 10 || echo 1)
PARTS=${PARTS:-gradients tests graphs train1 train16 pix2pix modern modern16 infer loader convert determinism paper_training modern_training}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
ROWS=$OUT/rows.md
BEGUN=$SECONDS
FAILED=0

# run PART LIMIT COMMAND…: its tables go into rows.md.
run() {
  local part=$1 limit=$(($2 * PATIENCE)) code left
  shift 2
  [[ " $PARTS " == *" $part "* ]] || return 0
  left=$((BUDGET - (SECONDS - BEGUN)))
  if ((left < 15)); then
    printf '\n## %s\n\nleft out: the %s s of the session are over\n' "$part" "$BUDGET" >>"$ROWS"
    return 0
  fi
  ((limit < left)) || limit=$left
  timeout "$limit" "$@" >"$OUT/$part.log" 2>&1
  code=$?
  {
    printf '\n## %s\n\n```sh\n%s\n```\n\n' "$part" "${*//$PYTHON/python}"
    if ((code == 124)); then printf 'cut short after %s s\n\n' "$limit"; fi
    if ((code != 0 && code != 124)); then printf 'failed with exit code %s: %s\n\n' "$code" "$(grep -v '^$' "$OUT/$part.log" | tail -1)"; fi
    grep '^|' "$OUT/$part.log" || tail -3 "$OUT/$part.log"
  } >>"$ROWS"
  if ((code != 0 && code != 124)); then FAILED=$((FAILED + 1)); fi
  printf '%5d s  %-16s %s\n' "$((SECONDS - BEGUN))" "$part" "$([[ $code == 0 ]] && echo done || echo "exit code $code")"
}

if [[ $DEVICE == cpu ]]; then
  CROP=32 BIG=2 ROUNDS=2 WIDTH=(--width 4) NARROW=(--g-width 4 --d-width 4) MINUTES=60 IMAGES=4 VARIANTS=(fp32 fp32-last) SMALL=(--images 6 --large 1 --rounds 1)
  PRECISIONS=(fp32) GRAPHS=(off) INFER=(--sizes 32 --batches 1 --precisions fp32 --generators resnet_9blocks) CONVERT=(--row 0 --rounds 1) TESTS=(tests/training/test_cuda_graphs_on_gpu.py)
else
  CROP=256 BIG=16 ROUNDS=7 WIDTH=() NARROW=() MINUTES=90 IMAGES=100000 SMALL=(--images 120 --large 16 --rounds 3)
  VARIANTS=(fp32 bf16 bf16-last bf16-graph bf16-last-graph fp16 fp16-last bf16-compile)
  PRECISIONS=(fp32 bf16) GRAPHS=(off on) INFER=(--sizes 256 1024 --batches 1 32 --precisions fp32 bf16 fp16) CONVERT=(--rounds 3) TESTS=()
fi

{
  printf '# A session on %s\n\n' "$DEVICE"
  "$PYTHON" -c 'import platform, torch, torchvision
print(f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}, CUDA {torch.version.cuda}, "
      + (torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"))'
  git log -1 --format='Commit %h' 2>/dev/null
} >"$ROWS" || exit 1

# 1. Correctness. Instance norm at batch 1 with a channels-last gradient: wrong on torch's CPU, unknown on CUDA.
run gradients 60 "$PYTHON" - "$DEVICE" < <(cat <<'PY'
import sys
import torch
from torch.nn import functional as F

def gradient(x, grad, norm):
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    norm(x).backward(grad)
    return x.grad.double()

def by_formula(x):
    apart = x - x.mean((2, 3), keepdim=True)
    return apart / (apart.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()

device = sys.argv[1]
print("| norm | batch | layout of the gradient | relative error of the input's gradient |\n|---|---|---|---|")
for batch in (1, 2):
    draws = torch.Generator().manual_seed(0)
    x, grad = (torch.randn(batch, 64, 32, 32, generator=draws).to(device) for _ in "xg")
    right = gradient(x.double(), grad.double(), by_formula)
    for name, norm in (("instance_norm", F.instance_norm), ("group_norm", lambda x: F.group_norm(x, 64))):
        for layout in (torch.contiguous_format, torch.channels_last):
            given = grad.contiguous(memory_format=layout)
            error = (gradient(x, given, norm) - right).norm() / right.norm()
            print(f"| {name} | {batch} | {str(layout).removeprefix('torch.')} | {error:.1e} |")
PY
)
run tests 240 "$PYTHON" -m pytest -q -n 0 -m gpu "${TESTS[@]}"

# 2. Timings, interleaved with the reference's algorithm; losses and gradients of both are compared in the same rows.
run train1 180 "$PYTHON" tools/bench_train.py --device "$DEVICE" --methods cyclegan --crops "$CROP" --batches 1 --precisions "${PRECISIONS[@]}" \
  --graphs "${GRAPHS[@]}" --convolution direct --rounds "$ROUNDS" --inputs 1 "${WIDTH[@]}" --json "$OUT/train1.json"
run train16 180 "$PYTHON" tools/bench_train.py --device "$DEVICE" --methods cyclegan --crops "$CROP" --batches "$BIG" --precisions "${PRECISIONS[@]}" \
  --graphs "${GRAPHS[@]}" --convolution direct --rounds "$ROUNDS" --inputs 0 "${WIDTH[@]}" --json "$OUT/train16.json"
run pix2pix 90 "$PYTHON" tools/bench_train.py --device "$DEVICE" --methods pix2pix --crops "$CROP" --batches 1 --precisions "${PRECISIONS[@]}" \
  --graphs "${GRAPHS[@]}" --convolution direct --rounds "$ROUNDS" --inputs 1 "${WIDTH[@]}" --json "$OUT/pix2pix.json"

# 3. Ways to run the preset modern.
run modern 180 "$PYTHON" tools/bench_variants.py --device "$DEVICE" --method cyclegan --preset modern --crop "$CROP" --batch 4 --variants "${VARIANTS[@]}" \
  --rounds "$ROUNDS" "${WIDTH[@]}" --json "$OUT/modern.json"
run modern16 120 "$PYTHON" tools/bench_variants.py --device "$DEVICE" --method pix2pix --preset modern --crop "$CROP" --batch "$BIG" --variants "${VARIANTS[@]}" \
  --rounds "$ROUNDS" "${WIDTH[@]}" --json "$OUT/modern16.json"

# 4. Conversion and data.
run infer 120 "$PYTHON" tools/bench_infer.py --device "$DEVICE" "${INFER[@]}" --convolution direct --rounds "$ROUNDS" --json "$OUT/infer.json"
run loader 90 "$PYTHON" tools/bench_loader.py --device "$DEVICE" "${SMALL[@]}"
run convert 90 "$PYTHON" tools/bench_convert.py --device "$DEVICE" "${CONVERT[@]}"

# 5. The same training twice, and once in two parts: which weights are bit-equal, and by how much others differ.
run determinism 120 "$PYTHON" - "$DEVICE" "$OUT" < <(cat <<'PY'
import sys
import torch
import translate

device, out = sys.argv[1:]
small = {"crop_size": 32, "load_size": 32, "g_width": 8, "d_width": 8, "generator": "resnet_3blocks", "device": device, "sample_every": 0}

def weights(name, *lengths):
    for images in lengths:
        run = translate.train("cyclegan", "datasets/earth_season", run=f"{out}/{name}", images=images, say=None, **small)
    model = translate.load(f"{out}/{name}", device="cpu").method
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])

print("| training of 24 images | bit-equal to the first | largest difference of a weight |\n|---|---|---|")
first = weights("whole", 24)
for name, lengths in (("again", (24,)), ("in two parts", (12, 24))):
    other = weights(name.replace(" ", "-"), *lengths)
    print(f"| {name} | {'yes' if torch.equal(first, other) else 'no'} | {(first - other).abs().max():.1e} |")
PY
)

# 6. The preset modern against paper for equal times on one set.
for preset in paper modern; do
  run "${preset}_training" "$MINUTES" "$PYTHON" -m translate train cyclegan datasets/earth_season --run "$OUT/$preset" --preset "$preset" \
    --crop-size "$CROP" --images "$IMAGES" --device "$DEVICE" "${NARROW[@]}" --watch off
done

echo
cat "$ROWS"
exit "$((FAILED > 0))"
