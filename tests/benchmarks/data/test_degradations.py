"""Degradations: reproducible, in range, worse with severity, and each with the property that defines it."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.config.degradations import known
from benchmarks.data.degradations import conformance, load
from benchmarks.data.degradations.blur import blur
from benchmarks.data.degradations.downscale import downscale
from benchmarks.data.degradations.gamma import gamma
from benchmarks.data.degradations.gaussian_blur import gaussian_blur
from benchmarks.data.degradations.haze import haze
from benchmarks.data.degradations.jpeg import jpeg
from benchmarks.data.degradations.low_light import low_light
from benchmarks.data.degradations.noise import noise
from benchmarks.data.degradations.rain import rain
from benchmarks.data.degradations.raindrops import raindrops
from benchmarks.data.degradations.snow import snow
from benchmarks.data.photographs import depth_of, photographs

NAMES = list(known())


def named(name):
    return load(known()[name])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def psnr(degraded, clean):
    return -10 * torch.log10((degraded - clean).square().mean((1, 2, 3)))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors gain nothing from threads, and on a busy machine waiting for them costs much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pictures():
    """Four photographs, every second pixel, with their depths: (4, 3, 128, 128) and (4, 1, 128, 128)."""
    names = list(photographs())[::2]
    images = torch.stack([torch.from_numpy(photographs()[name].copy()) for name in names])
    depths = torch.stack([torch.from_numpy(depth_of(name).copy()) for name in names])
    return images.permute(0, 3, 1, 2)[..., ::2, ::2].float() / 255, depths[:, None, ::2, ::2]


@pytest.mark.parametrize("name", NAMES)
def test_each_does_what_every_degradation_must(name):
    findings = conformance.check(name)
    assert len(findings) == 8 and all(finding.passed is not False for finding in findings), findings


BROKEN = {
    "none": ("image * (1 - severity.reshape(-1, 1, 1, 1))", ""),
    "still": ("image", "chance severity batch"),
    "in_place": ("image.mul_(1 - severity.reshape(-1, 1, 1, 1))", "input chance severity batch"),
    "double": ("image.double()", "output chance severity batch"),
    "global_chance": ("image + severity.reshape(-1, 1, 1, 1) * torch.rand_like(image)", "chance batch"),
    "of_the_batch": ("image + (image.mean() - image) * severity.reshape(-1, 1, 1, 1)", "batch"),
    "smaller": ("image[..., 1:, :] * (1 - severity.reshape(-1, 1, 1, 1))", "output severity sizes"),
    "failing": ("image[9]", "output input chance severity batch sizes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_degradation_must_not_do_is_found(name, tmp_path, monkeypatch, capsys):
    code, wrong = BROKEN[name]
    (tmp_path / f"broken_{name}.py").write_text(
        "import torch\nfrom benchmarks.data.degradations import degradation\n\n"
        "@degradation(training=(0.2, 0.8), testing=(0.5,))\n"
        f"def broken(image, severity, generator):\n    return {code}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert conformance.main([f"broken_{name}:broken"]) == int(bool(wrong))
    told = capsys.readouterr().out
    failed = [line.split()[0] for line in told.splitlines() if "FAILED" in line]
    assert [name for name in failed if name != "cuda"] == wrong.split(), told  # asked where there is a GPU


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("nosie", "unknown degradation 'nosie'; did you mean 'noise'?"),
        ("no_such_package.fog:fog", "cannot be imported (No module named 'no_such_package')"),
        ("math:pi", "math:pi is no degradation: put @degradation("),
    ],
)
def test_what_is_no_degradation_is_a_sentence(place, told, capsys):
    assert conformance.main([place]) == 2
    assert told in capsys.readouterr().err


def test_wrong_calls_say_what_is_wrong(pictures):
    images, depths = pictures
    with pytest.raises(ValueError, match="haze needs a depth"):
        named("haze")(images, seeded())
    with pytest.raises(ValueError, match="needs a depth"):
        named("haze")(images, seeded(), depth=depths[:, :, :9])
    with pytest.raises(ValueError, match="between 0 and 1"):
        named("rain")(images, seeded(), severity=25.0)
    with pytest.raises(ValueError, match="one value or"):
        named("rain")(images, seeded(), severity=torch.rand(3))
    with pytest.raises(ValueError, match="floats"):
        named("rain")((images * 255).byte(), seeded())


def test_noise_is_truncated_to_grey_levels_with_the_known_bias():
    grey = torch.full((4, 3, 128, 128), 128 / 255)
    noisy = noise.apply(grey, torch.full((4,), 15.0), seeded()) * 255
    assert (noisy - noisy.round()).abs().max() < 1e-4
    # Truncation costs half a level on average; the field's figure on photographs is -0.47 (clipping at 0 gives back).
    assert (noisy - 128).mean().item() == pytest.approx(-0.5, abs=0.1)
    assert (noisy - 128).std().item() == pytest.approx(15, rel=0.01)
    levels = torch.arange(256.0).div(255).repeat(1, 3, 2, 1)
    assert torch.equal(noise.apply(levels, torch.zeros(1), seeded()), levels)


def test_noise_matches_the_formula_in_numpy(pictures):
    images = pictures[0][:1]
    sample = torch.randn(images.shape, generator=seeded(9)).numpy()
    grey = np.rint(images.numpy() * 255)
    expected = np.clip(grey + np.float32(25) * sample, 0, 255).astype(np.uint8)
    found = noise.apply(images, torch.tensor([25.0]), seeded(9)).numpy() * 255
    assert np.array_equal(np.rint(found), expected)


def test_haze_keeps_what_is_near_and_ends_in_airlight(pictures):
    images = pictures[0]
    severity = torch.ones(len(images))
    assert torch.equal(haze.apply(images, torch.zeros_like(images[:, :1]), severity, seeded()), images)
    far = haze.apply(images, torch.full_like(images[:, :1], 50), severity, seeded())
    assert far.std(dim=(2, 3)).max() < 1e-5
    assert far.min() >= 0.8 and far.max() <= 1


def test_haze_is_the_scattering_model(pictures):
    images, depths = pictures
    severity = torch.full((4,), 0.5)
    transmission = torch.exp(-1.5 * 0.5 * depths)
    hazy = haze.apply(images, depths, severity, seeded())
    airlight = ((hazy - images * transmission) / (1 - transmission)).flatten(2)
    assert (airlight - airlight.mean(2, keepdim=True)).abs().max() < 1e-4


def test_rain_falls_in_one_direction():
    black = torch.zeros(6, 3, 128, 128)
    streaks = rain.apply(black, torch.full((6,), 0.4), seeded(2)).mean(1)
    rows, columns = torch.gradient(streaks, dim=(1, 2))
    # The structure tensor's anisotropy: 0 for noise, 1 for perfectly parallel lines.
    xx, yy, xy = (columns**2).mean((1, 2)), (rows**2).mean((1, 2)), (rows * columns).mean((1, 2))
    coherence = torch.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy)
    assert coherence.min() > 0.6
    tilt = 0.5 * torch.rad2deg(torch.atan2(2 * xy, xx - yy)).abs()
    assert tilt.max() < 40  # gradients across, so streaks within 40 degrees of the vertical


def test_rain_only_adds_light(pictures):
    images = pictures[0]
    assert (rain.apply(images, torch.ones(4), seeded()) >= images - 1e-6).all()


def by_pillow(image, change):
    """A (1, 3, H, W) batch through ``change`` of a Pillow image."""
    pixels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    return torch.from_numpy(np.array(change(Image.fromarray(pixels)))).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("quality", [10, 30, 50, 90])
@pytest.mark.parametrize("size", [(128, 128), (93, 118)])
def test_jpeg_is_that_of_pillow(quality, size, pictures):
    def through_file(picture):
        file = BytesIO()
        picture.save(file, "JPEG", quality=quality)
        return Image.open(file)

    image = pictures[0][1:2, :, : size[0], : size[1]]
    ours, theirs = jpeg.apply(image, torch.tensor([float(quality)]), seeded()), by_pillow(image, through_file)
    assert psnr(ours, image).item() == pytest.approx(psnr(theirs, image).item(), abs=0.1)
    assert psnr(ours, theirs).item() > 40  # the same artefacts, not only as many


def test_downscale_is_pillows_bicubic(pictures):
    def down_and_up(picture):
        small = picture.resize((round(picture.width / 3), round(picture.height / 3)), Image.Resampling.BICUBIC)
        return small.resize(picture.size, Image.Resampling.BICUBIC)

    image = pictures[0][2:3, :, :100, :120]
    ours = downscale.apply(image, torch.tensor([3.0]), seeded())
    assert (ours - by_pillow(image, down_and_up)).abs().max() < 2.5 / 255  # two roundings to 8 bits
    assert (downscale.apply(image, torch.ones(1), seeded()) - image).abs().max() < 1e-5


def test_downscale_of_a_batch_treats_each_factor_alone(pictures):
    images = pictures[0]
    factors = torch.tensor([2.0, 2.5, 3.0, 4.0])
    together = downscale.apply(images, factors, seeded())
    for index in range(4):
        alone = downscale.apply(images[index : index + 1], factors[index : index + 1], seeded())
        assert (together[index] - alone[0]).abs().max() < 1 / 255


def test_gaussian_blur_is_scipys(pictures):
    from scipy.ndimage import gaussian_filter

    image = pictures[0][1:2, :, :90]
    ours = gaussian_blur.apply(image, torch.tensor([2.0]), seeded())
    theirs = gaussian_filter(image.numpy(), (0, 0, 2, 2), mode="mirror", truncate=3)
    assert np.abs(ours.numpy() - theirs).max() < 1 / 255
    assert (gaussian_blur.apply(image, torch.zeros(1), seeded()) - image).abs().max() < 1e-5


def test_gamma_darkens_by_a_power(pictures):
    images = pictures[0]
    dark = gamma.apply(images, torch.tensor([1.0, 2.0, 2.0, 3.0]), seeded())
    assert (dark[0] - images[0]).abs().max() < 1e-5 and (dark[2] - images[2] ** 2).abs().max() < 0.51 / 255


def test_blur_spreads_light_without_moving_or_losing_it():
    point = torch.zeros(3, 3, 65, 65)
    point[..., 32, 32] = 1
    light = blur.apply(point, torch.full((3,), 0.5), seeded())[:, 0] ** 2.2
    assert torch.allclose(light.sum((1, 2)), torch.ones(3), atol=1e-3)
    offset = torch.arange(65.0) - 32
    assert (light.sum(2) @ offset).abs().max() < 0.05 and (light.sum(1) @ offset).abs().max() < 0.05
    spread = ((light.sum(2) + light.sum(1)) @ offset**2).sqrt()
    assert (spread > 1).all() and (spread < 10).all()
    still = torch.rand(1, 3, 32, 32, generator=seeded())
    assert (blur.apply(still, torch.zeros(1), seeded()) - still).abs().max() < 1e-3


def test_low_light_keeps_exposure_and_gets_noisier_in_red_and_blue():
    grey = torch.full((4, 3, 96, 96), 0.5)
    dark = low_light.apply(grey, torch.full((4,), 0.6), seeded())
    expected = 0.5 * 2 ** (-4.9 / 2.2)  # 1 + 6.5 * 0.6 stops
    assert dark.mean().item() == pytest.approx(expected, rel=0.05)
    red, green, blue = dark.std((2, 3)).mean(0)
    assert red > 1.1 * green and blue > 1.1 * green


def test_snow_lightens_the_dark_and_stays_behind_what_is_near():
    black = torch.zeros(2, 3, 128, 128)
    severity = torch.full((2,), 0.3)
    far, near = (snow.apply(black, torch.full((2, 1, 128, 128), z), severity, seeded()) for z in (1.0, 0.0))
    assert far.max() > 0.7 and near.mean() < 0.5 * far.mean()


def test_drops_change_places_only_and_hold_the_scene_upside_down():
    ramp = torch.linspace(0, 1, 192)[:, None].expand(1, 3, 192, 192)  # bright below
    dropped = raindrops.apply(ramp, torch.ones(1), seeded(1))
    changed = (dropped - ramp).abs().amax(1)[0] > 1e-6
    assert 0.1 < changed.float().mean() < 0.8
    inside = (dropped - ramp).abs().amax(1)[0] > 0.05
    slope = torch.gradient(dropped[0].mean(0), dim=0)[0]
    core = torch.nn.functional.avg_pool2d(inside[None].float(), 5, 1, 2)[0] == 1
    assert slope[core].median() < 0


def test_mixtures_are_applied_light_first_and_haze_last(pictures):
    images, _ = pictures
    far = torch.full_like(images[:, :1], 1.0)
    generator = seeded(6)
    severity = torch.full((4,), 0.5)
    expected = low_light.apply(images, 0.5 * severity, generator)
    expected = haze.apply(rain.apply(expected, severity, generator), far, severity, generator)
    assert torch.equal(named("low_haze_rain")(images, seeded(6), depth=far, severity=0.5), expected)
