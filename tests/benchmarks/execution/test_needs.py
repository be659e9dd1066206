"""What a dry run says of GPU hours, memory and disk, and whose measurements those are."""

import csv
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import run
from benchmarks.config.configuration import resolve
from benchmarks.config.settings import load
from benchmarks.execution import needs, rates
from benchmarks.execution.plan import Plan
from benchmarks.execution.rates import measured

H200 = ("NVIDIA H200", "2.11.0+cu128", "0123456789ab")
ROWS = [
    ("gpu limits", "matrix product, fp32, TFLOP/s", "", *H200),
    ("gpu step", "promptir paper, batch 8, patch 128, fp32", "ms=400; images_per_s=20", *H200),
    ("gpu memory", "promptir paper, batch 8, patch 128, fp32", "mib=16000; field_mib=20000", *H200),
    ("gpu step", "promptir paper, batch 8, patch 128, bf16", "ms=80; images_per_s=100", *H200),
    ("gpu step", "promptir paper, batch 32, patch 128, bf16 compiled", "images_per_s=200; peak_mib=30720", *H200),
    ("gpu step", "promptir paper, batch 8, patch 128, the field's, fp32", "ms=1; images_per_s=9999", *H200),
    ("gpu step", "promptir tiny, batch 10, patch 64, fp32 with CUDA graphs", "ms=5; images_per_s=2000", *H200),
    ("gpu step", "restormer paper, batch 8, patch 64, tf32", "images_per_s=50", "NVIDIA A100", "2.13.0", "ba98"),
    ("gpu step", "restormer paper, batch 8, patch 64, tf32", "images_per_s=80", "NVIDIA H100", "2.13.0", "ba98"),
    ("gpu step", "nafnet paper, bf16 compiled", "", *H200),
]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "speed-gpu.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "case", "medians", "device", "torch", "commit"])
        writer.writerows(ROWS)
    return path


def test_the_fastest_of_our_ways_is_taken_with_its_place_and_memory(table, tmp_path):
    best = measured("promptir", path=table)
    assert (best.way, best.precision, best.images_per_s, best.batch) == ("bf16 compiled", "bf16", 200, 32)
    assert best.whose == "NVIDIA H200, torch 2.11.0+cu128, commit 0123456789ab" and best.peak_mib == 30720
    own = measured("promptir", "fp32", path=table)
    assert (own.images_per_s, own.peak_mib) == (20, 16000)  # not the field's
    assert measured("promptir", "bf16", path=table) == best and measured("promptir", "tf32", path=table) is None
    assert measured("promptir", size="tiny", path=table).way == "fp32 with CUDA graphs"
    assert measured("restormer", path=table).device == "NVIDIA H100"  # measured again
    assert measured("nafnet", path=table) is None and measured("promptir", path=tmp_path / "none.csv") is None


def test_a_dry_run_tells_hours_by_measured_rates_and_else_by_arithmetic(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(needs.rates, "measured", lambda name, precision, size: measured(name, precision, size, table))
    command = ["--setting", "three_task", "--profile", "paper", "--output", str(tmp_path / "out"), "--dry-run"]
    assert run.main([*command, "--baselines", "promptir", "restormer", "nafnet", "--strategies", "mix"]) == 0
    told = capsys.readouterr().out.splitlines()
    place = "NVIDIA H200, torch 2.11.0+cu128, commit 0123456789ab"
    assert "One training on one GPU, by the images a second that were measured:" in told
    seconds = 534116 * 32  # samples
    fixed = 35592263 * 16 / 2**20  # MiB of weights, gradients and Adam's moments
    memory = (fixed + (16000 - fixed) * 4) / 1024
    assert told[told.index("One training on one GPU, by the images a second that were measured:") + 1 :][:3] == [
        f"  promptir       {seconds / 20 / 3600:,.0f} GPU-hours, about {memory:.3g} GiB of its memory: 20 images a "
        f"second in fp32, batches of 8 x 128x128; {place}",
        f"                 {seconds / 200 / 3600:,.0f} GPU-hours, 30 GiB of its memory: 200 images a second in bf16 "
        f"compiled (--set train.precision=bf16), batches of 32 x 128x128; {place}",
        f"  restormer      {seconds / 80 * 4 / 3600:,.0f} GPU-hours, about 55.7 GiB of its memory: 80 images a second "
        "in tf32 (--set train.precision=tf32), batches of 8 x 64x64; NVIDIA H100, torch 2.13.0, commit ba98",
    ]
    assert [line for line in told if line.startswith("  nafnet")] == [
        "  nafnet         6 GPU-hours (0.41 EFLOP), about 8.72 GiB of its memory"
    ]
    disk = next(line for line in told if line.startswith("Disk"))
    checkpoints = [12 * count / 1e6 for count in (35592263, 26126644, 29159715)]
    sizes = [f"{size:.3g} MB" for size in checkpoints]
    assert f"PromptIR {sizes[0]}, Restormer {sizes[1]}, NAFNet {sizes[2]}" in disk
    assert f"up to {2 * sum(checkpoints) / 1e3:.3g} GB of checkpoints" in disk and "decoded images" not in disk


def test_room_for_images_is_that_of_their_pixels_and_too_little_is_said(tmp_path, monkeypatch):
    folder = tmp_path / "data/BSD400"
    folder.mkdir(parents=True)
    for number in range(20):
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(folder / f"{number}.png")
    setting = load("three_task")
    config = resolve(setting, "transweather", "mix")
    data = config.data.model_copy(update={"source": "files", "root": str(tmp_path / "data")})
    plan = Plan.of(setting, config.model_copy(update={"data": data}), tmp_path / "out")
    cached = tmp_path / "out/cache/BSD400-target-1"
    cached.mkdir(parents=True)
    (cached / "pixels.u8").write_bytes(bytes(50_000))
    disk = needs.told([plan])[-1]
    assert "about 0.072 MB of decoded images, 0.05 MB of it made" in disk and "too little" not in disk
    monkeypatch.setattr(needs, "CACHE_LIMIT", 50_000)
    assert "nothing of BSD400, decoded as needed" in needs.told([plan])[-1]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert needs.told([plan])[-1].endswith(f"1 MB are free in {tmp_path / 'out'}. That is too little.")


@pytest.mark.skipif(not rates.MEASURED.exists(), reason="no GPU is measured yet")
def test_every_measured_way_of_ours_is_read():
    with rates.MEASURED.open(encoding="utf-8", newline="") as file:
        rows = [row["case"] for row in csv.DictReader(file) if "images_per_s=" in row["medians"]]
    ours = {case.partition(" ")[0] for case in rows if "the field's" not in case and " paper, batch " in case}
    assert ours and all(measured(name) for name in ours)
