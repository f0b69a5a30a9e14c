"""A plate alphabet drawn from strokes: the narrow, even gothic that most plates use.

A glyph is a list of strokes, separated by ";". A stroke is points "x,y" joined by straight lines, x
from 0 (left) to 1 (right) and y from 0 (top) to 1 (bottom) between the outer edges of the strokes.
A point that ends in "r" is a rounded corner. A stroke whose end leads out of the box is cut off at
the box's edge. "#" before the points fills the shape between them instead.
"""

import numpy as np
from PIL import Image, ImageDraw

Point = tuple[float, float, bool]  # x, y, whether its corner is round
RUN_OUT = 0.3  # length added to a stroke at the box's edge: more than half its thickness

STROKES = {
    "0": "0,.5 0,0r 1,0r 1,1r 0,1r 0,.5",
    "1": ".2,.17 .58,.03; .58,0 .58,1",
    "2": "0,.27 0,0r 1,0r 1,.42r 0,1 1,1",
    "3": "0,.22 0,0r .96,0r .96,.46r .4,.46; .4,.46 1,.46r 1,1r 0,1r 0,.77",
    "4": ".62,0 0,.74 1,.74; .76,.42 .76,1",
    "5": ".92,0 .1,0 .03,.5; .03,.44 .12,.38r 1,.38r 1,1r 0,1r 0,.76",
    "6": ".97,.14 .9,0r 0,0r 0,1r 1,1r 1,.4r 0,.4r 0,.7",
    "7": "0,0 1,0 .62,.4r .4,1",
    "8": ".5,.46 .05,.46r .05,0r .95,0r .95,.46r .5,.46 0,.46r 0,1r 1,1r 1,.46r .5,.46",
    "9": ".03,.86 .1,1r 1,1r 1,0r 0,0r 0,.6r 1,.6r 1,.3",
    "A": "0,1 .44,0 .56,0 1,1; .16,.7 .84,.7",
    "B": "0,.47 .94,.47r .94,0r 0,0 0,1 1,1r 1,.47r .5,.47",
    "C": "1,.27 1,0r 0,0r 0,1r 1,1r 1,.73",
    "D": "0,0 1,0r 1,1r 0,1 0,0",
    "E": "1,0 0,0 0,1 1,1; 0,.47 .86,.47",
    "F": "1,0 0,0 0,1; 0,.48 .86,.48",
    "G": "1,.25 1,0r 0,0r 0,1r 1,1r 1,.54 .52,.54",
    "H": "0,0 0,1; 1,0 1,1; 0,.48 1,.48",
    "I": ".5,0 .5,1",
    "J": ".95,0 .95,1r 0,1r 0,.7",
    "K": "0,0 0,1; .96,0 0,.64; .36,.4 1,1",
    "L": "0,0 0,1 1,1",
    "M": "0,1 0,0 .5,.62 1,0 1,1",
    "N": "0,1 0,0 1,1 1,0",
    "O": "0,.5 0,.45 .04,.31 .15,.15 .31,.04 .5,0 .69,.04 .85,.15 .96,.31 1,.45 1,.55 .96,.69 "
    ".85,.85 .69,.96 .5,1 .31,.96 .15,.85 .04,.69 0,.55 0,.5",  # an ellipse, unlike the 0
    "P": "0,1 0,0 1,0r 1,.55r 0,.55",
    "Q": "0,.5 0,0r 1,0r 1,1r 0,1r 0,.5; .55,.72 1,1",
    "R": "0,1 0,0 1,0r 1,.53r 0,.53; .5,.53 1,1",
    "S": "1,.25 1,0r 0,0r 0,.44r 1,.53r 1,1r 0,1r 0,.75",
    "T": "0,0 1,0; .5,0 .5,1",
    "U": "0,0 0,1r 1,1r 1,0",
    "V": "0,0 .5,1 1,0",
    "W": "0,0 .12,1 .5,.33 .88,1 1,0",
    "X": "0,0 1,1; 1,0 0,1",
    "Y": "0,0 .5,.52 1,0; .5,.5 .5,1",
    "Z": "0,0 1,0 0,1 1,1",
}

OLD = STROKES | {  # as on Taiwan's plates before 2012
    "2": "0,.2 0,0r .9,0r 1.06,.26r -.2,1 1,1",
    "3": "0,.16 0,0r .97,0r .97,.5r .62,.5; .62,.5 1,.5r 1,1r 0,1r 0,.84",
    "4": ".7,0 .6,0 0,.76 1.1,.76; .75,-.05 .75,1.1",
    "6": ".97,.16 .9,0r 0,0r 0,1r 1,1r 1,.47r 0,.47r 0,.75",
    "7": ".35,0 -.1,-.01 1.05,0 .63,.59r .47,1.18",
    "9": ".03,.84 .1,1r 1,1r 1,0r 0,0r 0,.53r 1,.53r 1,.25",
    "A": "0,1 .4,-.1; .6,-.1 1,1; .12,.7 .88,.7; #.25,-.07 .75,-.07 .7,.47 .3,.47",
    "G": "1,.24 1,0r 0,0r 0,1r 1,1r 1,.62 .5,.62; 1,.62 1,1",
    "I": ".2,0 .8,0; .5,0 .5,1; .2,1 .8,1",
    "M": "0,1 0,0; 1,0 1,1; #0,-.07 .22,-.07 .5,.25 .78,-.07 1,-.07 1,.3 .5,.72 0,.3",
    "N": "0,1 0,0; 1,0 1,1; #-.17,-.07 .22,-.07 1.17,1.07 .78,1.07",
    "Q": "0,.5 0,0r 1,0r 1,1r 0,1r 0,.5; .36,.66 1,1; #.5,1.07 1.17,1.07 1.17,.8",
    "R": "0,1 0,0 .97,0r .97,.5r 0,.5; .45,.5 .92,.5r 1,1",
    "V": "0,-.05 .46,1.02; .54,1.02 1,-.05; #.28,.47 .72,.47 .62,1.07 .38,1.07",
    "W": "0,0 .12,1; .88,1 1,0; #.06,.5 .34,.5 .5,.25 .66,.5 .94,.5 .88,1.07 .7,1.07 .5,.75 "
    ".3,1.07 .12,1.07",
    "X": ".05,-.08 .95,1.08; .95,-.08 .05,1.08",
}

FLAT = OLD | {  # as on Taiwan's plates since 2012
    "1": ".5,0 .5,1",
    "2": ".1,.1 .02,0r 1,0r .93,.24 -.04,1 1,1",
    "3": ".04,0 .97,0 .2,.45 .5,.45 1,.45r 1,1r 0,1r 0,.77",
    "5": "1,0 .03,0 .03,.46; .05,.42 .1,.34r 1,.34r 1,1r 0,1r .03,.87",
    "6": "1,0 .53,.2 .2,.43 .03,.65 0,1r 1,1r 1,.6r .1,.6r .1,.7",
    "7": "0,0 1,0 .1,1.1; #.46,.07 1.1,0 .97,.26",
    "9": "0,1 .39,.83 .67,.65 .93,.3 1,0r 0,0r 0,.43r .93,.43r .9,.35",
    "A": "0,1 .4,-.1; .6,-.1 1,1; .12,.77 .88,.77; #.28,-.07 .72,-.07 .6,.52 .4,.52",
    "B": "-.1,0 .72,0 .94,.12 .94,.36 .76,.46 .1,.46; .76,.46 1,.56 1,.88 .76,1 -.1,1; .1,0 .1,1",
    "C": ".97,.1 .95,0r 0,0r 0,1r .95,1r .97,.9",
    "G": ".97,.1 .95,0r 0,0r 0,1r 1,1r 1,.62 .58,.62",
    "J": ".43,0 1.1,0; .8,0 .8,1r .1,1r .05,.9",
    "M": "0,1 0,0; 1,0 1,1; #0,-.07 .18,-.07 .44,.28 .56,.28 .82,-.07 1,-.07 1,.72 .66,.72 "
    ".6,.8 .4,.8 .34,.72 0,.72",
    "N": "0,1 0,0; 1,0 1,1; #-.17,-.07 .28,-.07 1.17,1.07 .72,1.07",
    "Q": "0,.6 0,0r 1,0r 1,1r 0,1r 0,.6; .1,.46 1.05,1.03; #.58,1.05 1.15,1.05 1.15,.65",
    "R": "0,1 0,0 .97,0r .97,.53r 0,.5; .55,.52 .97,1.05",
    "S": ".97,.13 1,0r 0,0r 0,.48r 1,.52r 1,1r .02,1r .05,.9",
    "V": "0,-.05 .45,1.02; .55,1.02 1,-.05; #.28,.45 .72,.45 .62,1.07 .38,1.07",
    "W": "0,0 .16,1; .84,1 1,0; #.05,.4 .36,.4 .42,.22 .58,.22 .64,.4 .95,.4 .84,1.07 .62,1.07 "
    ".56,.92 .44,.92 .38,1.07 .16,1.07",
}


def draw(strokes: str, size: tuple[int, int], corner: float, thickness: float) -> Image.Image:
    """Draws one character white on black, filling an image of `size` (width, height).

    `corner` is the radius of rounded corners, as a share of the width between stroke centres (0.5
    gives half circles); `thickness` is that of the strokes, as a share of the image's height.
    """
    width, height = (4 * extent for extent in size)  # drawn large, then reduced: smooth edges
    thickness *= height
    image = Image.new("L", (width, height))
    pen = ImageDraw.Draw(image)

    def place(x: float, y: float) -> tuple[float, float]:
        inner_width, inner_height = width - thickness, height - thickness
        return thickness / 2 + x * inner_width - 0.5, thickness / 2 + y * inner_height - 0.5

    for text in strokes.split(";"):
        points = [_parse(word) for word in text.replace("#", "").split()]
        if "#" in text:
            pen.polygon([place(x, y) for x, y, _ in points], fill=255)
            continue
        outline = _round_corners(
            [place(x, y) for x, y, _ in _run_out(points)],
            [is_round for *_, is_round in points],
            corner * (width - thickness),
        )
        pen.line(outline, fill=255, width=round(thickness), joint="curve")
        radius = thickness / 2
        for x, y in outline[1:-1]:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return image.resize(size, Image.Resampling.BOX)


def _parse(word: str) -> Point:
    x, y = word.removesuffix("r").split(",")
    return float(x), float(y), word.endswith("r")


def _run_out(points: list[Point]) -> list[Point]:
    """Lengthens ends that lead out of the box, so that its edge cuts them off."""
    first, last = _lengthen(points[1], points[0]), _lengthen(points[-2], points[-1])
    return [first, *points[1:-1], last]


def _lengthen(before: Point, end: Point) -> Point:
    across, down = end[0] - before[0], end[1] - before[1]
    leads_out = any(
        (place <= 0 and step < 0) or (place >= 1 and step > 0)
        for place, step in ((end[0], across), (end[1], down))
    )
    share = RUN_OUT / max(abs(across), abs(down)) if leads_out else 0.0
    return end[0] + share * across, end[1] + share * down, end[2]


def _round_corners(
    points: list[tuple[float, float]], is_round: list[bool], radius: float
) -> list[tuple[float, float]]:
    """Replaces each round corner by a quarter of a circle or an ellipse."""
    outline = []
    for i, corner in enumerate(points):
        if not is_round[i]:
            outline.append(corner)
            continue
        start = _towards(corner, points[i - 1], radius, halve=is_round[i - 1])
        end = _towards(corner, points[i + 1], radius, halve=is_round[i + 1])
        for step in range(13):
            t = step / 12
            parts = (1 - t) ** 2, 2**0.5 * t * (1 - t), t**2  # of start, corner and end
            xy = zip(start, corner, end, strict=True)
            outline.append(tuple(np.dot(parts, values) / sum(parts) for values in xy))
    return outline


def _towards(
    corner: tuple[float, float], other: tuple[float, float], radius: float, halve: bool
) -> tuple[float, float]:
    """Returns the point `radius` from a corner towards `other`, at most half way if `halve`."""
    length = ((other[0] - corner[0]) ** 2 + (other[1] - corner[1]) ** 2) ** 0.5
    share = min(radius / length, 0.5 if halve else 1.0)
    return tuple(c + share * (o - c) for c, o in zip(corner, other, strict=True))
