"""Drawings for thrillers, crime, mystery, adventure, science fiction, horror, action, fantasy, war and westerns."""

from __future__ import annotations

import math

from .brush import GROUND, HEIGHT, WIDTH, Brush


def thriller(b: Brush) -> None:
    """Rings that close in."""
    x, y = b.chance.uniform(120, 280), b.chance.uniform(160, 250)
    gap = b.chance.uniform(24, 34)
    for k in range(12, 0, -1):
        b.disc(x, y, gap * k, b.colours.far if k % 2 else b.colours.near, 200)
    b.disc(x, y, gap * 0.55, b.colours.accent)
    if b.chance.random() < 0.5:
        b.pen.line((x - 500, y, x + 500, y), fill=(*b.colours.accent, 190), width=3)
        b.pen.line((x, y - 500, x, y + 500), fill=(*b.colours.accent, 190), width=3)


def stairs(b: Brush) -> None:
    """A staircase turning down into the dark."""
    x, y, turn = WIDTH / 2, b.chance.uniform(190, 230), b.chance.uniform(0, 90)
    steps = b.chance.randint(14, 20)
    for k in range(3 * steps):
        radius = 330 * 0.955**k
        start = turn + 360 * k / steps
        fill = b.colours.far if k % 2 else b.colours.near
        b.pen.pieslice((x - radius, y - radius, x + radius, y + radius), start, start + 190, fill=(*fill, 210))
    b.disc(x, y, 26, b.colours.accent)


def crime(b: Brush) -> None:
    """Light through blinds, a hat behind it."""
    slats = b.chance.randint(9, 13)
    tilt = b.chance.uniform(-60, 60)
    for k in range(slats):
        y = 20 + 400 * k / slats
        b.shape([(0, y + tilt), (WIDTH, y - tilt), (WIDTH, y - tilt + 16), (0, y + tilt + 16)], b.colours.accent, 150)
    x, y = b.chance.uniform(140, 260), b.chance.uniform(215, 255)
    b.pen.ellipse((x - 100, y - 14, x + 100, y + 22), fill=b.colours.near)
    b.pen.rounded_rectangle((x - 58, y - 74, x + 58, y + 8), 26, fill=b.colours.near)
    b.box(x - 58, y - 22, x + 58, y - 6, b.colours.far)
    b.pen.ellipse((x - 50, y - 20, x + 50, y + 104), fill=b.colours.near)
    b.pen.rounded_rectangle((x - 130, y + 92, x + 130, HEIGHT), 60, fill=b.colours.near)


def skyline(b: Brush) -> None:
    """A city at night, some windows lit."""
    b.disc(b.chance.uniform(80, 320), b.chance.uniform(80, 140), b.chance.uniform(36, 60), b.colours.accent, 230)
    for colour, low, high in ((b.colours.far, 170, 260), (b.colours.near, 230, 350)):
        x = -10.0
        while x < WIDTH:
            width, top = b.chance.uniform(36, 76), b.chance.uniform(low, high)
            b.box(x, top, x + width, HEIGHT, colour)
            for _ in range(b.chance.randint(2, 9)):
                wx, wy = x + b.chance.uniform(5, width - 12), top + b.chance.uniform(10, 120)
                b.box(wx, wy, wx + 6, wy + 9, b.colours.accent, 210)
            x += width + b.chance.uniform(-4, 6)


def mystery(b: Brush) -> None:
    """A keyhole with something behind it."""
    x, y, radius = WIDTH / 2, b.chance.uniform(150, 185), b.chance.uniform(70, 92)
    b.box(0, 0, WIDTH, HEIGHT, b.colours.near, 165)
    b.disc(x, y, radius + 16, b.colours.far)
    b.shape([(x - 46, y), (x + 46, y), (x + 92, 380), (x - 92, 380)], b.colours.far)
    b.disc(x, y, radius, b.colours.accent)
    b.shape([(x - 32, y), (x + 32, y), (x + 74, 366), (x - 74, 366)], b.colours.accent)
    b.pen.ellipse((x - 44, y - 22, x + 44, y + 22), fill=b.colours.low)
    b.disc(x + b.chance.uniform(-20, 20), y, 20, b.colours.near)


def lens(b: Brush) -> None:
    """A magnifying glass over footprints."""
    for k in range(9):
        px, py = 60 + 36 * k, 380 - 40 * k + (20 if k % 2 else -20)
        b.pen.ellipse((px - 11, py - 20, px + 11, py + 12), fill=(*b.colours.near, 220))
        b.pen.ellipse((px - 8, py + 15, px + 8, py + 30), fill=(*b.colours.near, 220))
    x, y, radius = b.chance.uniform(150, 240), b.chance.uniform(150, 220), b.chance.uniform(80, 105)
    b.pen.line((x, y, x + radius * 1.75, y + radius * 1.75), fill=b.colours.near, width=30)
    b.disc(x, y, radius, b.colours.accent, 200)
    b.ring(x, y, radius + 8, b.colours.near, 18)


def adventure(b: Brush) -> None:
    """Mountains, a sun, a road."""
    b.disc(b.chance.uniform(90, 310), b.chance.uniform(100, 170), b.chance.uniform(44, 70), b.colours.accent)
    b.ridge(300, 190, b.chance.randint(4, 6), b.colours.far, 190)
    b.ridge(370, 150, b.chance.randint(5, 8), b.colours.far)
    b.waves(385, 12, 260, b.colours.near)
    x = b.chance.uniform(150, 250)
    b.shape([(x, 385), (x + 10, 385), (x + 90, HEIGHT), (x - 90, HEIGHT)], b.colours.low, 90)


def sails(b: Brush) -> None:
    """A ship on a high sea."""
    b.disc(b.chance.uniform(100, 300), 130, b.chance.uniform(60, 90), b.colours.low)
    x, y = b.chance.uniform(150, 230), 335.0
    b.box(x - 4, y - 210, x + 4, y, b.colours.near)
    b.shape([(x + 8, y - 200), (x + 120, y - 40), (x + 8, y - 40)], b.colours.accent)
    b.shape([(x - 8, y - 180), (x - 90, y - 40), (x - 8, y - 40)], b.colours.far)
    b.shape([(x - 120, y - 28), (x + 140, y - 28), (x + 90, y + 30), (x - 80, y + 30)], b.colours.near)
    for k in range(4):
        b.waves(355 + 24 * k, 10, 90 + 25 * k, (b.colours.far, b.colours.near)[k % 2], 235)


def space(b: Brush) -> None:
    """A ringed planet among stars."""
    b.box(0, 0, WIDTH, HEIGHT, b.colours.near, 150)
    b.stars(70, 420)
    x, y, radius = b.chance.uniform(120, 280), b.chance.uniform(150, 230), b.chance.uniform(70, 110)
    b.disc(x, y, radius, b.colours.far)
    b.pen.chord((x - radius, y - radius, x + radius, y + radius), 200, 20, fill=(*b.colours.low, 120))
    b.pen.arc((x - radius * 1.7, y - radius * 0.4, x + radius * 1.7, y + radius * 0.4), -20, 200, b.colours.accent, 9)
    b.disc(b.chance.uniform(30, 370), b.chance.uniform(40, 90), b.chance.uniform(10, 24), b.colours.low)


def rocket(b: Brush) -> None:
    """A rocket, straight up."""
    b.stars(45, 380)
    b.disc(b.chance.choice((70, 330)), b.chance.uniform(80, 130), b.chance.uniform(36, 60), b.colours.low, 220)
    x, y = b.chance.uniform(160, 240), b.chance.uniform(90, 130)
    b.shape([(x - 26, y + 170), (x + 26, y + 170), (x + 8, 420), (x - 8, 420)], b.colours.accent, 190)
    b.shape([(x - 34, y + 110), (x - 70, y + 190), (x - 20, y + 170)], b.colours.far)
    b.shape([(x + 34, y + 110), (x + 70, y + 190), (x + 20, y + 170)], b.colours.far)
    b.pen.ellipse((x - 38, y - 40, x + 38, y + 240), fill=b.colours.low)
    b.box(x - 38, y + 170, x + 38, y + 242, b.colours.near, 0)
    b.disc(x, y + 60, 18, b.colours.near)
    b.ring(x, y + 60, 20, b.colours.accent, 5)
    b.pen.ellipse((x - 90, 380, x + 90, 450), fill=(*b.colours.low, 150))


def horror(b: Brush) -> None:
    """Bare firs like teeth before a huge moon."""
    b.disc(b.chance.uniform(120, 280), b.chance.uniform(130, 190), b.chance.uniform(80, 115), b.colours.accent, 220)
    for colour, base, tall in ((b.colours.far, 380, 210), (b.colours.near, 420, 180)):
        x = -20.0
        while x < WIDTH + 20:
            width, height = b.chance.uniform(22, 44), tall * b.chance.uniform(0.45, 1)
            b.shape(
                [(x, HEIGHT), (x, base), (x + width / 2, base - height), (x + width, base), (x + width, HEIGHT)], colour
            )
            x += width * b.chance.uniform(0.6, 1.0)
    b.box(0, 400, WIDTH, HEIGHT, b.colours.near)


def jaws(b: Brush) -> None:
    """Teeth above and below, an eye between."""
    count = b.chance.randint(6, 9)
    width = WIDTH / count
    for k in range(count):
        deep = b.chance.uniform(60, 120)
        b.shape([(k * width, 0), ((k + 1) * width, 0), ((k + 0.5) * width, deep + 20)], b.colours.near)
        b.shape(
            [(k * width, GROUND + 10), ((k + 1) * width, GROUND + 10), ((k + 0.5) * width, GROUND - deep)],
            b.colours.near,
        )
    y = b.chance.uniform(190, 230)
    b.pen.ellipse((90, y - 52, 310, y + 52), fill=b.colours.accent)
    b.disc(200, y, 50, b.colours.far)
    b.pen.ellipse((190, y - 46, 210, y + 46), fill=b.colours.near)


def action(b: Brush) -> None:
    """A burst with speed in it."""
    x, y = b.chance.uniform(120, 280), b.chance.uniform(190, 260)
    rays, turn = b.chance.randint(14, 22), b.chance.random()
    for k in range(rays):
        a, wide = turn + k * math.tau / rays, math.tau / rays / 2
        b.shape(
            [
                (x, y),
                (x + 620 * math.cos(a), y + 620 * math.sin(a)),
                (x + 620 * math.cos(a + wide), y + 620 * math.sin(a + wide)),
            ],
            b.colours.far,
            190,
        )
    tips = b.chance.randint(9, 13)
    b.star(x, y, b.chance.uniform(120, 150), 68, tips, b.colours.near, turn)
    b.star(x, y, b.chance.uniform(88, 110), 50, tips, b.colours.accent, turn + 0.2)


def bolt(b: Brush) -> None:
    """Slanted speed lines and a bolt."""
    for _ in range(26):
        x, y, run = b.chance.uniform(-60, WIDTH), b.chance.uniform(-20, GROUND), b.chance.uniform(60, 220)
        b.pen.line((x, y, x + run, y - run * 0.55), fill=(*b.colours.far, 200), width=b.chance.randint(3, 12))
    x, y, s = b.chance.uniform(160, 240), b.chance.uniform(180, 220), b.chance.uniform(1.0, 1.3)
    bolt = [(20, -150), (-70, 20), (-8, 20), (-40, 150), (72, -34), (12, -34), (60, -150)]
    b.shape([(x + px * s + 9, y + py * s + 9) for px, py in bolt], b.colours.near)
    b.shape([(x + px * s, y + py * s) for px, py in bolt], b.colours.accent)


def fantasy(b: Brush) -> None:
    """A castle under a crescent."""
    b.stars(30, 260)
    x, y, radius = b.chance.uniform(90, 310), b.chance.uniform(80, 120), b.chance.uniform(44, 62)
    b.disc(x, y, radius, b.colours.accent)
    b.disc(x + radius * 0.42, y - radius * 0.15, radius * 0.9, b.colours.high)
    b.ridge(350, 110, 6, b.colours.far, 160)
    left = b.chance.uniform(70, 130)
    for k in range(b.chance.randint(4, 5)):
        tx, top, width = left + 48 * k, b.chance.uniform(170, 270), b.chance.uniform(32, 46)
        b.box(tx, top, tx + width, 420, b.colours.near)
        b.shape([(tx - 7, top), (tx + width / 2, top - 64), (tx + width + 7, top)], b.colours.far)
        b.box(tx + width / 2 - 4, top + 22, tx + width / 2 + 4, top + 40, b.colours.accent)
    b.waves(378, 12, 300, b.colours.near)


def war(b: Brush) -> None:
    """Searchlights and a broken horizon."""
    for _ in range(b.chance.randint(3, 5)):
        x, lean = b.chance.uniform(20, 380), b.chance.uniform(-190, 190)
        b.shape([(x, 400), (x + lean - 34, -10), (x + lean + 34, -10)], b.colours.accent, 90)
    for _ in range(b.chance.randint(2, 5)):
        x, y, s = b.chance.uniform(50, 350), b.chance.uniform(50, 210), b.chance.uniform(0.6, 1.2)
        plane = [(-34, 0), (-8, -6), (-2, -26), (4, -26), (6, -5), (30, -3), (34, -12), (38, -12), (36, 6), (-30, 6)]
        b.shape([(x + px * s, y + py * s) for px, py in plane], b.colours.near)
    b.ridge(370, 90, 18, b.colours.far)
    b.ridge(405, 60, 26, b.colours.near)


def western(b: Brush) -> None:
    """A horse-shoe sun behind mesas and a cactus."""
    x, y, radius = b.chance.uniform(150, 250), b.chance.uniform(190, 220), b.chance.uniform(95, 120)
    b.pen.arc((x - radius, y - radius, x + radius, y + radius), 120, 60, fill=b.colours.accent, width=34)
    for k in range(7):
        a = math.radians(140 + 260 * k / 6)
        b.disc(x + (radius - 17) * math.cos(a), y + (radius - 17) * math.sin(a), 5, b.colours.near)
    left = b.chance.uniform(-40, 40)
    b.shape([(left, 420), (left + 24, 296), (left + 130, 296), (left + 160, 420)], b.colours.far)
    b.shape([(left + 230, 420), (left + 250, 320), (left + 340, 320), (left + 370, 420)], b.colours.far)
    cx = b.chance.uniform(190, 240)
    for box in ((cx, 290, cx + 24, 420), (cx - 34, 320, cx - 18, 372), (cx + 42, 306, cx + 58, 362)):
        b.pen.rounded_rectangle(box, 8, fill=b.colours.near)
    b.box(cx - 34, 358, cx + 4, 372, b.colours.near)
    b.box(cx + 20, 348, cx + 58, 362, b.colours.near)
    b.box(0, 400, WIDTH, HEIGHT, b.colours.near)
