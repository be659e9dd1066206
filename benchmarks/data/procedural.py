"""Procedural training scenes with depth, and a depth stand-in for photographs that have none.

A scene is a dead-leaves image: objects of power-law size painted over each other from far to near, which reproduces
the scale invariance, the occlusion edges and the 1/f spectrum of photographs (Lee, Mumford, Huang, "Occlusion models
for natural images", IJCV 2001) and is a known good training prior for restoration networks (Achddou, Gousseau, Ladjal,
"Synthetic images as a regularity prior for image restoration neural networks", SSVM 2021). Because the painting order
is known, every scene comes with its depth, which is what haze needs.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.fft import fftfreq, irfft2, rfft2, rfftfreq
from scipy.ndimage import gaussian_filter, uniform_filter

# Mean colours of common surfaces (sRGB, [0, 1]) and how often a scene's palette takes them; the last four are paint.
_SURFACES = np.array(
    [
        (0.36, 0.42, 0.20),  # foliage
        (0.22, 0.28, 0.13),  # dark foliage
        (0.45, 0.35, 0.25),  # soil
        (0.58, 0.47, 0.33),  # wood, skin
        (0.50, 0.49, 0.47),  # stone
        (0.78, 0.75, 0.70),  # plaster
        (0.16, 0.15, 0.15),  # shade
        (0.55, 0.65, 0.76),  # sky, glass
        (0.30, 0.41, 0.50),  # water
        (0.68, 0.20, 0.14),  # red paint
        (0.80, 0.60, 0.16),  # yellow paint
        (0.14, 0.26, 0.55),  # blue paint
        (0.60, 0.35, 0.48),  # flowers
    ],
    dtype=np.float32,
)
_SURFACE_WEIGHTS = np.array([3, 2, 3, 3, 3, 2, 3, 2, 1, 0.8, 0.6, 0.8, 0.6])
_SKIES = np.array([(0.40, 0.56, 0.80), (0.62, 0.70, 0.78), (0.80, 0.80, 0.80), (0.85, 0.68, 0.55)], dtype=np.float32)


@dataclass
class _World:
    """What all objects of one scene share."""

    size: int
    palette: np.ndarray  # (P, 3) colours
    textures: np.ndarray  # (T, size, size) fields of zero mean and unit spread
    light: tuple[float, float]  # direction (y, x) the light comes from, unit length
    horizon: float  # row where ground meets sky in units of the size; negative: no ground, leaves only
    wall: float  # depth of the background where there is no ground
    focus: float  # depth that is sharp
    roughness: float  # how strong the textures are


def scene(
    generator: np.random.Generator, size: int = 256
) -> tuple[UInt8[np.ndarray, "{size} {size} 3"], Float32[np.ndarray, "{size} {size}"]]:
    """Draw one scene.

    Args:
        generator: source of all randomness; the same state gives the same scene.
        size: height and width in pixels, at least 16.

    Returns:
        image: (size, size, 3) uint8.
        depth: (size, size) float32 in [0, 1], 0 at the camera, 1 at the far end.

    Raises:
        ValueError: ``size`` is below 16.
    """
    if size < 16:
        raise ValueError(f"a scene needs at least 16 pixels a side, not {size}")
    world = _world(generator, size)
    image, depth = _background(world, generator)
    for place in _places(world, generator):
        _paint(image, depth, world, generator, place)
    return _develop(image, generator), np.clip(gaussian_filter(depth, 0.7), 0, 1)


def training_set(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a set of scenes, each from its own generator, so that a longer set starts with the shorter one.

    Args:
        count: number of scenes.
        size: height and width of each in pixels.
        seed: non-negative integer naming the set.

    Returns:
        images: (count, size, size, 3) uint8.
        depths: (count, size, size) uint8, 0 at the camera, 255 at the far end.
    """
    images = np.empty((count, size, size, 3), np.uint8)
    depths = np.empty((count, size, size), np.uint8)
    for index in range(count):
        images[index], depth = scene(np.random.default_rng([seed, index]), size)
        depths[index] = np.rint(depth * 255)
    return images, depths


def depth_proxy(
    image: UInt8[np.ndarray, "height width 3"], generator: np.random.Generator
) -> Float32[np.ndarray, "height width"]:
    """Invent a plausible depth for a photograph: far at the top and where it is pale, smooth, along its edges.

    The vertical gradient stands for the ground plane; paleness is the colour attenuation prior (Zhu, Mai, Shao, "A fast
    single image haze removal algorithm using color attenuation prior", TIP 2015: depth grows with brightness and falls
    with saturation); the guided filter (He, Sun, Tang, TPAMI 2013) makes the sum follow the edges.

    Args:
        image: (H, W, 3) uint8.
        generator: draws the tilt and the slow variation.

    Returns:
        (H, W) float32 in [0, 1], 0 near, 1 far.
    """
    height, width = image.shape[:2]
    colour = image.astype(np.float32) / 255
    value = colour.max(axis=2)
    paleness = 0.9597 * value - 0.7803 * (value - colour.min(axis=2)) / np.maximum(value, 1e-3)
    rows = np.linspace(1, 0, height, dtype=np.float32)[:, None]
    columns = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
    plane = rows ** generator.uniform(0.7, 1.4) + generator.uniform(-0.3, 0.3) * columns
    slow = _waves(generator, height, width)
    rough = plane + 0.3 * gaussian_filter(paleness, 0.02 * max(height, width)) + 0.12 * slow
    depth = _guided(value, rough, radius=max(2, min(height, width) // 12))
    low, high = depth.min(), depth.max()
    nearest = generator.uniform(0.02, 0.15)
    return (nearest + (1 - nearest) * (depth - low) / max(high - low, 1e-6)).astype(np.float32)


def _waves(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Sum of three long waves over the image, about unit amplitude, (height, width) float32."""
    y = np.linspace(0, 2 * np.pi, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 2 * np.pi, width, dtype=np.float32)[None]
    frequency, phase = generator.uniform(-1, 1, (3, 2)), generator.uniform(0, 2 * np.pi, 3)
    waves = [np.sin(fy * y + fx * x + p) for (fy, fx), p in zip(frequency, phase, strict=True)]
    return np.float32(0.6) * np.asarray(sum(waves[1:], start=waves[0]), np.float32)


def _guided(guide: np.ndarray, signal: np.ndarray, radius: int, epsilon: float = 2e-2) -> np.ndarray:
    """Guided filter of He, Sun, Tang: ``signal`` as a locally linear function of ``guide``, both (H, W)."""
    window = 2 * radius + 1
    mean_guide, mean_signal = uniform_filter(guide, window), uniform_filter(signal, window)
    covariance = uniform_filter(guide * signal, window) - mean_guide * mean_signal
    variance = uniform_filter(guide * guide, window) - mean_guide**2
    slope = covariance / (variance + epsilon)
    offset = mean_signal - slope * mean_guide
    return uniform_filter(slope, window) * guide + uniform_filter(offset, window)


def _world(generator: np.random.Generator, size: int) -> _World:
    kinds = generator.choice(
        len(_SURFACES), size=generator.integers(3, 7), replace=False, p=_SURFACE_WEIGHTS / _SURFACE_WEIGHTS.sum()
    )
    slopes = generator.uniform((0.3, 0.7, 1.2), (0.7, 1.2, 1.7))  # fine, natural, cloudy
    angle = float(generator.uniform(-2.5, -0.6))  # light falls from above
    return _World(
        size=size,
        palette=_SURFACES[kinds],
        textures=np.stack([_fractal(generator, size, slope) for slope in slopes]),
        light=(math.sin(angle), math.cos(angle)),
        horizon=float(generator.uniform(0.15, 0.55)) if generator.random() < 0.6 else -1.0,
        wall=float(generator.uniform(0.55, 0.95)),
        focus=float(generator.uniform(0.1, 0.7)),
        roughness=float(generator.uniform(0.2, 1.5)),
    )


def _fractal(generator: np.random.Generator, size: int, slope: float) -> np.ndarray:
    """Gaussian noise with amplitude spectrum 1/f^slope, zero mean, unit spread, (size, size) float32."""
    spectrum = np.asarray(rfft2(generator.standard_normal((size, size), dtype=np.float32)))
    frequency = np.hypot(fftfreq(size)[:, None], rfftfreq(size)[None]).astype(np.float32)
    frequency[0, 0] = np.inf  # no mean
    field = np.asarray(irfft2(spectrum * frequency ** np.float32(-slope), s=(size, size)))
    return field / field.std()


def _colour(world: _World, generator: np.random.Generator) -> np.ndarray:
    """A colour of the palette under another amount of light and slightly other pigment, (3, 1, 1) float32."""
    base = world.palette[generator.integers(len(world.palette))]
    pigment = generator.standard_normal(4).astype(np.float32)
    return (base * np.exp(0.55 * pigment[0] + 0.08 * pigment[1:]))[:, None, None]


def _background(world: _World, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sky over ground with a perspective depth, or one textured wall; image (3, size, size), depth (size, size)."""
    size = world.size
    rows = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    texture = float(generator.uniform(0.1, 0.3)) * world.roughness * world.textures[generator.integers(2)]
    wall = _colour(world, generator) * (1 + texture) * (1.2 - 0.4 * rows)
    if world.horizon < 0:
        return wall, np.repeat(world.wall - float(generator.uniform(0, 0.1)) * rows, size, 1)
    sky = (_SKIES[generator.integers(len(_SKIES))] * np.float32(generator.uniform(0.9, 1.4)))[:, None, None]
    clouds = float(generator.uniform(0, 0.1)) * world.textures[2]
    image = np.where(rows > world.horizon, wall, sky * (0.85 + 0.4 * rows + clouds))
    return image, np.repeat(_ground(world, rows), size, 1)


def _ground(world: _World, row: np.ndarray) -> np.ndarray:
    """Depth of the ground plane at ``row`` (in units of the size): 1 at the horizon, falling as 1/distance below."""
    return 0.25 / (0.25 + 1.6 * np.maximum(row - world.horizon, 0))


def _places(world: _World, generator: np.random.Generator) -> list[tuple[tuple[float, float], float, float]]:
    """Centres (pixels), radii (pixels) and depths of the objects, far ones first."""
    count = int(generator.integers(140, 300))
    smallest, largest = max(2.0, world.size / 70), world.size * generator.uniform(0.12, 0.35)
    # p(r) ~ r^-3 between the bounds: the scale-invariant law (Lee, Mumford, Huang 2001), by inverting its integral.
    radius = smallest / np.sqrt(1 - generator.random(count) * (1 - (smallest / largest) ** 2))
    centre = generator.uniform(-0.05, 1.05, (count, 2))
    depth = generator.uniform(0.02, world.wall, count)
    if world.horizon >= 0:
        depth = _ground(world, centre[:, 0]) * generator.uniform(0.85, 1.0, count)
        aloft = centre[:, 0] < world.horizon  # twigs, poles, roofs: anywhere between camera and horizon
        depth[aloft] = generator.uniform(0.3, 0.95, aloft.sum())
        radius *= 1.4 - 0.8 * depth  # perspective
    return [
        ((float(centre[i, 0]) * world.size, float(centre[i, 1]) * world.size), float(radius[i]), float(depth[i]))
        for i in np.argsort(-depth)
    ]


def _paint(
    image: np.ndarray,
    depth: np.ndarray,
    world: _World,
    generator: np.random.Generator,
    place: tuple[tuple[float, float], float, float],
) -> None:
    """Paint one object with its halo of shade into ``image`` and its distance into ``depth``, in place."""
    centre, radius, distance = place
    stretch, turn, ambient, gloss, tilt = generator.uniform(
        (0, 0, 0.1, 0, -0.04), (1.1, math.pi, 0.45, 0.35, 0.04)
    ).tolist()
    half = (radius * math.exp(stretch), radius / math.exp(stretch))  # half axes
    halo = 1.5 + 0.15 * radius
    reach = 1.25 * half[0] + halo
    top, left = (max(math.floor(c - reach), 0) for c in centre)
    bottom, right = (min(math.ceil(c + reach), world.size) for c in centre)
    if top >= bottom or left >= right:
        return
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - centre[0]
    x = np.arange(left, right, dtype=np.float32)[None] - centre[1]
    u, v = math.cos(turn) * y + math.sin(turn) * x, math.cos(turn) * x - math.sin(turn) * y

    outside = _distance(generator, u, v, half)
    softness = 1 + 2.5 * abs(distance - world.focus)  # out of focus away from the focal depth
    cover = np.clip(0.5 - outside / softness, 0, 1)
    shade = 1 - ambient * np.clip(1 - outside / halo, 0, 1) ** 2
    lit = 1 + gloss / half[0] * (world.light[0] * y + world.light[1] * x)
    surface = cover * lit * (1 + _texture(world, generator, u, v, (slice(top, bottom), slice(left, right))))

    view = image[:, top:bottom, left:right]
    view *= shade * (1 - cover)
    view += surface * _colour(world, generator)
    view = depth[top:bottom, left:right]
    view += cover * (distance + tilt / half[0] * u - view)


def _distance(generator: np.random.Generator, u: np.ndarray, v: np.ndarray, half: tuple[float, float]) -> np.ndarray:
    """Signed distance in pixels (negative inside) to a random ellipse, box, polygon or blob of half axes ``half``."""
    a, b = half
    kind = generator.random()
    if kind < 0.2:
        return np.maximum(np.abs(u) - a, np.abs(v) - b)
    if kind < 0.45:
        corners = int(generator.integers(3, 7))
        angles = (np.arange(corners) + generator.uniform(-0.3, 0.3, corners)) * (2 * math.pi / corners)
        sides = []
        for angle in angles.tolist():
            along, across = math.cos(angle) / a, math.sin(angle) / b
            length = math.hypot(along, across)
            sides.append((along / length) * u + (across / length) * v - 0.75 / length)
        return np.maximum.reduce(sides)
    reach = 1.0
    if kind < 0.65:
        angle = np.arctan2(v, u)
        lobes, phases = generator.integers(2, 7, 2).tolist(), generator.uniform(0, 2 * math.pi, 2).tolist()
        reach = 1 + sum(0.1 * np.cos(n * angle + p) for n, p in zip(lobes, phases, strict=True))
    squares_u, squares_v = (u / a) ** 2, (v / b) ** 2
    ratio = np.sqrt(squares_u + squares_v)
    # Distance to first order: value of the implicit function over the length of its gradient.
    return (ratio - reach) * ratio / (np.sqrt(squares_u / a**2 + squares_v / b**2) + 1e-6)


def _texture(
    world: _World, generator: np.random.Generator, u: np.ndarray, v: np.ndarray, window: tuple[slice, slice]
) -> np.ndarray:
    """Relative brightness variation of a surface, about zero: 1/f noise, and on some surfaces a regular pattern."""
    field = world.textures[generator.integers(len(world.textures))]
    kind, turned, period, phase, contrast = generator.uniform((0, 0, 1.4, 0, 0.08), (1, 1, 3.2, 6.28, 0.4)).tolist()
    grain = float(generator.gamma(2.0, 0.09)) * world.roughness * (field if turned < 0.5 else field.T)[window]
    if kind < 0.7:
        return grain
    period = math.exp(period)  # 4 to 24 pixels
    wave = np.sin((2 * math.pi / period) * u + phase)
    if kind > 0.9:  # checker
        wave = np.clip(wave * np.sin((2 * math.pi / period) * v) * (period / 3), -1, 1)
    elif kind > 0.8:  # stripes with edges one pixel wide
        wave = np.clip(wave * (period / 4), -1, 1)
    return grain + contrast * wave


def _develop(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Lens blur, exposure and quantisation: float (3, H, W) to uint8 (H, W, 3).

    Some pictures are flat or bright without haze, as photographs are: else brightness alone would tell of haze.
    """
    blur, dark, bright, mean = generator.uniform((0.4, 0, 0, 0.28), (0.7, 1, 1, 0.68)).tolist()
    dark, bright = 0.2 * dark**3, 1.02 - 0.3 * bright**3
    image = gaussian_filter(image, (0, blur, blur), truncate=3)
    low, high = np.percentile(image[:, ::4, ::4], (0.5, 99)).tolist()
    image = np.clip((image - low) / max(high - low, 1e-3), 0, 1)
    gamma = math.log(mean) / math.log(min(max(float(image.mean()), 0.02), 0.98))
    image = dark + (bright - dark) * image ** min(max(gamma, 0.5), 1.5)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy()
