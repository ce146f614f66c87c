"""Drawings for dramas, comedies, romances, family, music, history and documentary films."""

from __future__ import annotations

import math

from .brush import GROUND, HEIGHT, WIDTH, Brush


def drama(b: Brush) -> None:
    """Two discs that meet, over still water."""
    y, apart = b.chance.uniform(150, 240), b.chance.uniform(45, 85)
    radius = b.chance.uniform(85, 120)
    b.disc(WIDTH / 2 - apart, y, radius, b.colours.far, 215)
    b.disc(WIDTH / 2 + apart, y + b.chance.uniform(-30, 30), radius * b.chance.uniform(0.6, 1), b.colours.accent, 190)
    for k in range(4):
        b.waves(340 + 22 * k, 4 + k, 130 + 30 * k, b.colours.near, 70 + 40 * k)


def window(b: Brush) -> None:
    """A lit window and who stands in it."""
    left, top = b.chance.uniform(80, 130), b.chance.uniform(60, 110)
    right, bottom = WIDTH - left, 370
    b.box(0, 0, WIDTH, HEIGHT, b.colours.near, 150)
    b.box(left, top, right, bottom, b.colours.accent, 235)
    x, tall = b.chance.uniform(left + 50, right - 50), b.chance.uniform(120, 170)
    b.disc(x, bottom - tall, 24, b.colours.near)
    b.pen.rounded_rectangle((x - 38, bottom - tall + 22, x + 38, bottom + 40), 34, fill=b.colours.near)
    b.box(left, bottom, right, bottom + 10, b.colours.far)
    b.box(WIDTH / 2 - 4, top, WIDTH / 2 + 4, bottom, b.colours.far)
    b.box(left, (top + bottom) / 2 - 50, right, (top + bottom) / 2 - 43, b.colours.far)


def comedy(b: Brush) -> None:
    """A wide grin of balloons and confetti."""
    for _ in range(46):
        x, y, side = b.chance.uniform(0, WIDTH), b.chance.uniform(0, GROUND - 20), b.chance.uniform(5, 13)
        colour = b.chance.choice((b.colours.far, b.colours.accent, b.colours.near))
        lean = b.chance.uniform(-side, side)
        b.shape([(x, y), (x + side, y + lean), (x + side - lean, y + side + lean), (x - lean, y + side)], colour, 170)
    x, y, radius = WIDTH / 2 + b.chance.uniform(-30, 30), b.chance.uniform(180, 220), b.chance.uniform(105, 130)
    b.disc(x, y, radius, b.colours.accent)
    b.pen.chord(
        (x - radius * 0.66, y - radius * 0.5, x + radius * 0.66, y + radius * 0.74), 8, 172, fill=b.colours.near
    )
    for side in (-1, 1):
        b.disc(x + side * radius * 0.36, y - radius * 0.3, radius * b.chance.uniform(0.09, 0.16), b.colours.near)


def bunting(b: Brush) -> None:
    """Stripes and a string of balloons."""
    stripes = b.chance.randint(5, 8)
    for k in range(0, stripes, 2):
        b.box(WIDTH * k / stripes, 0, WIDTH * (k + 1) / stripes, HEIGHT, b.colours.far, 75)
    for k in range(b.chance.randint(4, 6)):
        x, y = 60 + 62 * k + b.chance.uniform(-12, 12), b.chance.uniform(90, 250)
        b.pen.line((x, y, WIDTH / 2, GROUND), fill=(*b.colours.near, 200), width=3)
        b.pen.ellipse((x - 40, y - 52, x + 40, y + 44), fill=(b.colours.accent, b.colours.far, b.colours.near)[k % 3])
        b.disc(x - 14, y - 22, 8, (255, 255, 255), 150)


def romance(b: Brush) -> None:
    """One great heart, smaller ones rising."""
    b.heart(
        WIDTH / 2 + b.chance.uniform(-30, 30), b.chance.uniform(190, 220), b.chance.uniform(120, 155), b.colours.far
    )
    for _ in range(b.chance.randint(6, 14)):
        b.heart(
            b.chance.uniform(30, WIDTH - 30),
            b.chance.uniform(40, GROUND - 30),
            b.chance.uniform(10, 34),
            b.chance.choice((b.colours.accent, b.colours.near)),
            220,
        )


def bridge(b: Brush) -> None:
    """A bridge, a low sun and its path on the water."""
    x, y, radius = b.chance.uniform(110, 290), b.chance.uniform(190, 240), b.chance.uniform(60, 85)
    b.disc(x, y, radius, b.colours.accent)
    for k in range(7):
        half = radius * (1 - k / 9) * b.chance.uniform(0.6, 1)
        b.box(x - half, 322 + 13 * k, x + half, 327 + 13 * k, b.colours.accent, 200)
    b.box(0, 296, WIDTH, 310, b.colours.near)
    spans = b.chance.randint(2, 4)
    for k in range(spans):
        left, width = WIDTH * k / spans, WIDTH / spans
        b.pen.arc((left, 230, left + width, 380), 180, 360, fill=b.colours.near, width=10)


def embrace(b: Brush) -> None:
    """A street lamp and two who stand close."""
    lamp, y = b.chance.choice((90, 310)), b.chance.uniform(80, 120)
    for k in range(6, 0, -1):
        b.disc(lamp, y, 26 * k, b.colours.accent, 34)
    b.disc(lamp, y, 20, b.colours.accent)
    b.box(lamp - 4, y + 18, lamp + 4, GROUND + 10, b.colours.near)
    x = b.chance.uniform(180, 220)
    for side, tall in ((-1, b.chance.uniform(165, 185)), (1, b.chance.uniform(140, 165))):
        px = x + side * 27
        b.disc(px - side * 5, 400 - tall, 22, b.colours.near if side < 0 else b.colours.far)
        b.pen.rounded_rectangle((px - 30, 422 - tall, px + 30, 470), 28, fill=(b.colours.near, b.colours.far)[side > 0])


def tree(b: Brush) -> None:
    """A lone tree and birds that leave it."""
    b.disc(b.chance.uniform(90, 310), b.chance.uniform(120, 220), b.chance.uniform(50, 80), b.colours.accent, 225)
    b.waves(372, 14, b.chance.uniform(360, 520), b.colours.far, 170)
    x = b.chance.uniform(130, 270)

    def branch(px: float, py: float, angle: float, long: float) -> None:
        qx, qy = px + long * math.sin(angle), py - long * math.cos(angle)
        b.pen.line((px, py, qx, qy), fill=b.colours.near, width=max(2, round(long / 7)))
        if long > 16:
            for side in (-1, 1):
                branch(qx, qy, angle + side * b.chance.uniform(0.25, 0.6), long * b.chance.uniform(0.66, 0.8))

    branch(x, 402, b.chance.uniform(-0.12, 0.12), 84)
    for _ in range(b.chance.randint(3, 8)):
        px, py, s = b.chance.uniform(30, 360), b.chance.uniform(40, 190), b.chance.uniform(6, 12)
        b.pen.line((px - s, py - s * 0.6, px, py, px + s, py - s * 0.6), fill=b.colours.near, width=3)
    b.waves(398, 8, 300, b.colours.near)


def door(b: Brush) -> None:
    """A door ajar and the light it lets in."""
    left, top = b.chance.uniform(130, 190), b.chance.uniform(80, 120)
    b.box(0, 0, WIDTH, HEIGHT, b.colours.near, 170)
    b.box(left, top, left + 104, 372, b.colours.accent)
    b.shape(
        [(left, 372), (left + 104, 372), (left + 104 + b.chance.uniform(40, 130), 430), (left - 60, 430)],
        b.colours.accent,
        150,
    )
    lean = b.chance.uniform(40, 76)
    b.shape([(left, top), (left + lean, top + 16), (left + lean, 392), (left, 372)], b.colours.far)
    b.disc(left + lean - 9, (top + 400) / 2, 5, b.colours.accent)


def family(b: Brush) -> None:
    """A house on a hill, a kite."""
    b.disc(b.chance.uniform(60, 120), b.chance.uniform(70, 110), 42, b.colours.accent)
    b.waves(330, 26, b.chance.uniform(330, 460), b.colours.far, 230)
    x, y = b.chance.uniform(130, 230), 318.0
    b.box(x, y - 70, x + 96, y + 40, b.colours.low)
    b.shape([(x - 16, y - 66), (x + 48, y - 130), (x + 112, y - 66)], b.colours.near)
    b.box(x + 36, y - 26, x + 62, y + 40, b.colours.near)
    kx, ky = b.chance.uniform(270, 340), b.chance.uniform(90, 150)
    b.pen.line((kx, ky + 40, x + 90, y), fill=(*b.colours.near, 230), width=2)
    b.shape([(kx, ky - 48), (kx + 32, ky), (kx, ky + 48), (kx - 32, ky)], b.colours.accent)
    b.waves(380, 14, 300, b.colours.near)


def animation(b: Brush) -> None:
    """A rainbow and things that bounce."""
    x = b.chance.uniform(130, 270)
    for k, colour in enumerate((b.colours.far, b.colours.accent, b.colours.low, b.colours.near)):
        radius = 190 - 30 * k
        b.pen.arc((x - radius, 330 - radius, x + radius, 330 + radius), 180, 360, fill=colour, width=31)
    for _ in range(b.chance.randint(3, 5)):
        px, py, size = b.chance.uniform(40, 360), b.chance.uniform(60, 340), b.chance.uniform(20, 42)
        colour = b.chance.choice((b.colours.accent, b.colours.far))
        b.disc(px, py, size, colour)
        for side in (-1, 1):
            b.disc(px + side * size * 0.36, py - size * 0.15, size * 0.27, (255, 255, 255))
            b.disc(px + side * size * 0.36, py - size * 0.1, size * 0.13, (20, 20, 26))
    b.waves(376, 10, 120, b.colours.near)


def history(b: Brush) -> None:
    """A temple front with columns."""
    b.disc(b.chance.uniform(110, 290), b.chance.uniform(100, 150), b.chance.uniform(50, 80), b.colours.accent, 230)
    count, left = b.chance.randint(4, 6), 62
    b.shape([(36, 196), (200, b.chance.uniform(104, 140)), (364, 196)], b.colours.far)
    b.box(46, 200, 354, 220, b.colours.near)
    for k in range(count):
        x = left + (276 - 30) * k / (count - 1)
        b.box(x, 224, x + 30, 372, b.colours.low)
        b.box(x + 20, 224, x + 30, 372, b.colours.far, 150)
        b.box(x - 5, 222, x + 35, 232, b.colours.far)
    for k in range(3):
        b.box(44 - 12 * k, 372 + 12 * k, 356 + 12 * k, 386 + 12 * k, (b.colours.far, b.colours.near)[k % 2])


def music(b: Brush) -> None:
    """A record."""
    x, y, radius = b.chance.uniform(140, 260), b.chance.uniform(180, 220), b.chance.uniform(125, 155)
    b.disc(x, y, radius, b.colours.near)
    for k in range(6):
        b.ring(x, y, radius * (0.94 - 0.09 * k), b.colours.far, 2, 170)
    b.disc(x, y, radius * 0.36, b.colours.accent)
    b.disc(x, y, 9, b.colours.near)
    b.pen.line((x + radius * 1.1, y - radius, x + radius * 0.55, y + radius * 0.35), fill=b.colours.low, width=10)


def keys(b: Brush) -> None:
    """Piano keys in a row and notes above them."""
    for k in range(5):
        b.waves(70 + 26 * k, 12, 420, b.colours.far, 40)
    for _ in range(b.chance.randint(4, 7)):
        x, y = b.chance.uniform(40, 350), b.chance.uniform(70, 220)
        b.pen.ellipse((x - 18, y - 12, x + 14, y + 12), fill=b.colours.near)
        b.box(x + 9, y - 70, x + 14, y, b.colours.near)
        b.shape([(x + 9, y - 72), (x + 44, y - 52), (x + 44, y - 38), (x + 9, y - 56)], b.colours.accent)
    keys = b.chance.randint(8, 11)
    width = WIDTH / keys
    b.box(0, 268, WIDTH, GROUND + 10, (250, 246, 235))
    for k in range(keys):
        b.box(k * width - 1, 268, k * width + 1, GROUND + 10, b.colours.near)
        if k % 7 not in (0, 3):
            b.box(k * width - width * 0.3, 268, k * width + width * 0.3, 350, b.colours.near)


def documentary(b: Brush) -> None:
    """A strip of film around the world."""
    x, y, radius = WIDTH / 2, b.chance.uniform(180, 220), b.chance.uniform(100, 125)
    b.disc(x, y, radius, b.colours.accent)
    for k in (0.35, 0.75):
        b.pen.ellipse((x - radius * k, y - radius, x + radius * k, y + radius), outline=b.colours.near, width=5)
    for k in (-0.5, 0, 0.5):
        half = radius * math.sqrt(1 - k * k)
        b.box(x - half, y + radius * k - 2, x + half, y + radius * k + 2, b.colours.near)
    for top in (24, 352):
        b.box(0, top, WIDTH, top + 44, b.colours.near)
        for k in range(12):
            b.pen.rounded_rectangle((8 + 34 * k, top + 10, 28 + 34 * k, top + 34), 5, fill=b.colours.low)
