"""Several networks on one sheet: restored and scored as restore and evaluate do; mistakes are told first."""

import shutil

import numpy as np
import pytest
import torch
from miniature import picture, rainy
from PIL import Image

import baselines
from benchmarks.config.configuration import resolve
from benchmarks.config.sections import DataConfig
from benchmarks.config.settings import load
from benchmarks.execution.comparison import labels
from benchmarks.execution.job import ExecutionContext, execute
from benchmarks.execution.plan import Plan
from benchmarks.restore import main
from benchmarks.scoring.fidelity import psnr, score
from benchmarks.scoring.regions import Region, most_different
from benchmarks.scoring.weights import load_run
from reports.figures.comparison import COLUMN, TALLEST, _Sheet, draw, panel


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two checkpoints of a tiny NAFNet, as they are named on the command line."""
    folder, names = tmp_path_factory.mktemp("weights"), []
    for number in range(2):
        torch.manual_seed(number)
        built = baselines.build("nafnet", "tiny")
        torch.nn.init.normal_(built.ending.weight, std=0.002)
        torch.save(built.state_dict(), folder / f"net{number}.pth")
        names.append(f"nafnet={folder / f'net{number}.pth'}")
    return names


@pytest.fixture(scope="module")
def runs(three_task_root, tmp_path_factory):
    """Two short runs of one network, by two strategies."""
    output, folders = tmp_path_factory.mktemp("runs"), []
    setting, data = load("three_task"), DataConfig(source="files", root=str(three_task_root))
    for strategy in ("mix", "equal"):
        small = ["train.steps=1", "train.batch=5", "train.patch=64"]
        planned = Plan.of(setting, resolve(setting, "nafnet", strategy, data=data, overrides=small), output)
        execute(planned, ExecutionContext(output / "cache", "cpu", "none", "a test"))
        assert planned.status.state == "done", planned.status.reason
        folders.append(planned.run.folder)
    return folders


@pytest.fixture
def pictures(tmp_path):
    """A wide rainy picture and a tall grey one, and the clean ones under the same names."""
    for name, clean in (("a.png", picture(1, 60, 90)), ("b.png", picture(2, 90, 60)[..., 0])):
        for folder, pixels in (("clean", clean), ("in", rainy(clean) if clean.ndim == 3 else clean // 2)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / name)
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing takes most of the time."""
    monkeypatch.setattr("reports.figures.comparison.draw", lambda *_: None)


def compare(*parts, size="tiny"):
    return main([*map(str, parts), *(["--size", size] if size else []), "--device", "cpu"])


def test_pictures_beside_their_clean_ones(files, pictures, capsys):
    out = pictures / "out"
    command = [pictures / "in", "--compare", *files, "--clean", pictures / "clean", "--crop", "5,6,20,10", "30,9,12,12"]
    assert compare(*command, "--output", out) == 0
    told = capsys.readouterr().out
    assert "2 networks on 2 pictures" in told
    name, *alone = files[0].partition("=")[::2]
    assert main([str(pictures / "in/b.png"), "--baseline", name, "--checkpoint", *alone, "--size", "tiny",
                 "--output", str(pictures / "one"), "--device", "cpu"]) == 0  # fmt: skip
    written, clean = (np.asarray(Image.open(pictures / folder / "b.png")) for folder in ("one", "clean"))
    value = psnr(np.dstack([written] * 3), np.dstack([clean] * 3), "weather_rgb")
    assert f"NAFNet, net0.pth {value:.2f} dB" in told  # of what restore alone writes
    assert (out / "comparison.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(out / "comparison.png") as sheet:
        assert sheet.mode == "RGB" and 4 * COLUMN < sheet.width < 4.3 * COLUMN
    assert compare(*command, "--output", out) == 2
    assert "comparison.png exists; --overwrite" in capsys.readouterr().err


def test_test_images_have_the_scores_of_the_runs(runs, tmp_path, capsys, undrawn):
    assert compare("--compare", *runs, "--output", tmp_path, size=None) == 0
    told = capsys.readouterr().out
    for folder, strategy in zip(runs, ("mix", "equal"), strict=True):
        scores = load_run(folder).run.scores().query("metric == 'psnr'").drop_duplicates("dataset")
        assert len(scores) == 5
        for row in scores.itertuples():
            (line,) = [line for line in told.splitlines() if line.startswith(f"{row.dataset}: ")]
            assert f"input {row.input_value:.2f} dB" in line
            assert f"NAFNet, {strategy}, seed 0 {row.value:.2f} dB" in line


def test_labels_say_what_sets_networks_apart(runs):
    one, two = map(load_run, runs)
    assert labels([one, two]) == [["NAFNet", "mix", "seed 0"], ["NAFNet", "equal", "seed 0"]]
    other = two.config.model_copy(update={"train": two.config.train.model_copy(update={"steps": 2000})})
    changed = type(two)(two.network, two.baseline, "paper", two.path, two.about, two.run, other)
    assert labels([one, changed])[1] == ["NAFNet", "equal", "seed 0", "size paper", "2,000 steps"]


def test_a_bad_picture_leaves_the_others(files, pictures, capsys, undrawn):
    (pictures / "in/c.png").write_text("no picture")
    assert compare(pictures / "in", "--compare", *files, "--output", pictures / "out") == 1
    told = capsys.readouterr()
    assert "c.png: not an image" in told.err and "networks on 2 pictures" in told.out


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["{in}", "--compare", "{0}"], "--compare takes two networks or more"),
        (["{in}", "--compare", "{0}", "{0}"], "is named twice"),
        (["{in}", "--compare", "{0}", "{in}"], "is not the folder of a run"),
        (["--compare", "{0}", "{1}", "{in}/a.png"], "name pictures before --compare"),
        (["{in}", "--compare", "{0}", "nowhere"], "nowhere is not there; name a run's folder"),
        (["--compare", "{0}", "{1}"], "is no run and so has no test images; name pictures"),
        (["{in}", "--compare", "{0}", "{1}", "--crop", "50,0,20,20"], "region 50,0,20,20 is not inside b.png, which"),
        (["{in}", "--compare", "{0}", "{1}", "--crop", "0,0,0,9"], "is not inside"),
        (["{in}", "--compare", "{0}", "{1}", "--clean", "{in}/a.png"], "--clean names 1 for 2 pictures"),
        (["{in}/a.png", "--compare", "{0}", "{1}", "--clean", "{in}/b.png"], "a.png has 90x60 pixels, "),
        (["{in}", "--compare", "{0}", "{1}", "--run", "x"], "--compare names the networks; leave out --run"),
        (["{in}", "--run", "x", "--crop", "0,0,5,5"], "--crop belongs to --compare"),
    ],
)
def test_mistakes_are_one_sentence(parts, message, files, pictures, capsys):
    command = [part.format(*files, **{"in": pictures / "in"}) for part in parts]
    size = None if "--run" in parts else "tiny"
    assert compare(*command, "--output", pictures / "out", size=size) == 2
    told = capsys.readouterr().err
    assert message in told.replace(f"{pictures / 'in'}/", "") and "Traceback" not in told
    assert not list((pictures / "out").glob("*"))


def test_runs_of_other_settings_or_data_need_pictures(runs, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(runs[1], moved)
    config = (moved / "config.json").read_text("utf-8")
    (moved / "digests.json").unlink(missing_ok=True)
    (moved / "config.json").write_text(config.replace('"source": "files"', '"source": "embedded"'))
    assert compare("--compare", runs[0], moved, "--output", tmp_path / "out", size=None) == 2
    assert "name pictures" in capsys.readouterr().err


def test_regions_are_where_structure_differs_most():
    chance = np.random.default_rng(0)
    first = chance.integers(0, 256, (70, 110, 3), np.uint8)
    second = first.copy()
    second[:30] = second[:30] // 4 + 20
    second[40:60, 20:40] = chance.integers(0, 256, (20, 20, 3))
    found = most_different([first, second])
    side = found[0].width
    assert side == 35 and all(region.inside(70, 110) for region in found)
    gaps = abs(found[0].x - found[1].x), abs(found[0].y - found[1].y)
    assert max(gaps) >= side

    def brute(y, x):
        windows = [image[y : y + side, x : x + side].astype(float) for image in (first, second)]
        return np.var([window - window.mean((0, 1)) for window in windows], axis=0).sum()

    best = max((brute(y, x), x, y) for y in range(36) for x in range(76))
    assert found[0][:2] == best[1:]
    assert most_different([first, first])[0] == Region(37, 17, side, side)  # nothing differs: the middle
    assert most_different([first[:1, :1], second[:1, :1]]) == [Region(0, 0, 1, 1)]


def test_a_sheet_holds_the_pictures_to_the_pixel(tmp_path):
    image = picture(3, 100, COLUMN)
    marked = panel("x", [image, image[::-1], image], [1, 2], [(0, 0, 40, 40)])
    assert marked.wholes[1].shape == image.shape and np.array_equal(marked.wholes[1], image[::-1])
    draw([panel("a name", [image, image[::-1]], [], [])], [["Input"], ["N"]], "", [tmp_path / "x.png"])
    sheet = np.asarray(Image.open(tmp_path / "x.png"))
    windows = np.lib.stride_tricks.sliding_window_view(sheet[:, 20 : 20 + COLUMN], 100, axis=0)
    assert any(np.array_equal(windows[n].transpose(2, 0, 1), image) for n in range(len(windows)))


@pytest.mark.parametrize(("height", "width"), [(3000, 20), (1, 700), (2, 2)])
def test_panels_fit_their_columns(height, width):
    region = (0, 0, min(width, 9), min(height, 4))
    found = panel("x", [np.zeros((height, width, 3), np.uint8)] * 2, [], [region] * 4)
    for shown in (*found.wholes, *found.details[0]):
        assert 1 <= shown.shape[0] <= TALLEST and 1 <= shown.shape[1] <= COLUMN


def test_long_names_are_broken_to_fit():
    sheet = _Sheet(5)
    text = "art:score=pace,tau=10 (tuned, equal cost) " + "x" * 60
    lines = sheet._fitted(text, COLUMN)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(lines) > 2 and all(sheet._wide(line, False) <= COLUMN for line in lines)


def test_psnr_alone_is_that_of_the_scores():
    first, second = picture(1), picture(2)
    for protocol in ("airnet_rgb", "weather_y"):
        assert psnr(first, second, protocol) == score(first, second, protocol)["psnr"]
