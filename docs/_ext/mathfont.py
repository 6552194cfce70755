"""The font of the formulas: STIX Two Math (SIL Open Font License) with roots of more sizes.

Chromium keeps room for the widest of a font's root signs whichever it draws, and lets one that is
taller than its content hang below the line. So: all root signs get the width of the smallest, and
there are more heights of them.
"""

from __future__ import annotations

from copy import deepcopy
from importlib.resources import as_file, files
from pathlib import Path

from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.otTables import MathGlyphVariantRecord

NAME = "lpgeom-math.woff"
ROOT = 0x221A
# (of which sign, share of its height): in between and below those that the font has
SCALES = ((0, 0.72), (0, 0.84), (0, 1.0), (1, 0.78), (1, 1.0), (2, 1.0), (3, 1.0))


def _scaled(font: TTFont, source: str, name: str, x: float, y: float) -> None:
    """A glyph `name`, a scaled copy of `source`; its top stays where it was."""
    glyphs, metrics = font["glyf"], font["hmtx"]
    glyph = deepcopy(glyphs[source])
    glyph.coordinates.scale((x, y))
    glyph.coordinates.translate((0, round(glyphs[source].yMax * (1 - y))))
    glyph.coordinates.toInt()
    glyph.removeHinting()
    width, left = metrics[source]
    if name not in glyphs.glyphs:
        font.setGlyphOrder([*font.getGlyphOrder(), name])
    glyphs[name] = glyph
    glyph.recalcBounds(glyphs)
    metrics[name] = (round(width * x), round(left * x))
    vertical = font.get("vmtx")
    if vertical is not None:
        vertical[name] = vertical[source]


def write(folder: Path) -> None:
    """Write the font into a folder."""
    with as_file(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf") as path:
        font = TTFont(path)
    signs = font["MATH"].table.MathVariants
    base = font.getBestCmap()[ROOT]
    construction = signs.VertGlyphConstruction[signs.VertGlyphCoverage.glyphs.index(base)]
    records = construction.MathGlyphVariantRecord
    width = font["hmtx"][base][0]
    names = [record.VariantGlyph for record in records]
    heights = [record.AdvanceMeasurement for record in records]
    new = []
    for number, (which, share) in enumerate(SCALES):
        name = f"lpgeom.root{number}"
        _scaled(font, names[which], name, width / font["hmtx"][names[which]][0], share)
        record = MathGlyphVariantRecord()
        record.VariantGlyph, record.AdvanceMeasurement = name, round(heights[which] * share)
        new.append(record)
    # A browser draws the character itself where that is tall enough: it is the smallest sign.
    font["glyf"][base] = deepcopy(font["glyf"][new[0].VariantGlyph])
    font["hmtx"][base] = font["hmtx"][new[0].VariantGlyph]
    construction.MathGlyphVariantRecord = new
    construction.VariantCount = len(new)
    for part in construction.GlyphAssembly.PartRecords:
        _scaled(font, part.glyph, part.glyph, width / font["hmtx"][part.glyph][0], 1.0)
    for record in font["name"].names:
        if record.nameID in (1, 3, 4, 6, 16):
            record.string = "lpgeom-math" if record.nameID == 6 else "lpgeom math"
    font.flavor = "woff"
    font.save(folder / NAME)
