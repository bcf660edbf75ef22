#!/usr/bin/env python3
"""Makes DejaVuSans-subset.ttf and ../src/font/advances.rs from DejaVu Sans.

    python3 -m venv /tmp/font && /tmp/font/bin/pip install fonttools==4.68.0
    apt-get install fonts-dejavu-core            # or take the font out of matplotlib's wheel
    /tmp/font/bin/python plot/font/make.py /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf

The subset holds what a figure's labels need: Latin, Greek, Cyrillic, sub- and superscripts, arrows and mathematical
signs. It has no hinting (the pictures are drawn from outlines) and no layout tables (one character is one glyph).
The licence in LICENSE-DejaVu allows this, under any name without "Bitstream" and "Vera".
"""

import io
import pathlib
import sys

from fontTools import subset
from fontTools.ttLib import TTFont

RANGES = [
    (0x0020, 0x007E),  # ASCII
    (0x00A0, 0x017F),  # Latin-1, Latin Extended-A
    (0x0391, 0x03C9),  # Greek
    (0x03D1, 0x03D6),  # theta, phi, pi variants
    (0x03F5, 0x03F5),  # lunate epsilon
    (0x0401, 0x0401),
    (0x0410, 0x044F),  # Cyrillic
    (0x0451, 0x0451),
    (0x2010, 0x2026),  # dashes, quotes, dagger, bullet, ellipsis
    (0x2030, 0x2033),  # per mille, primes
    (0x2070, 0x209C),  # super- and subscripts
    (0x20AC, 0x20AC),  # euro
    (0x2102, 0x2102),  # the sets C, N, Q, R, Z
    (0x2113, 0x2115),
    (0x211A, 0x211A),
    (0x211D, 0x211D),
    (0x2124, 0x2124),
    (0x2190, 0x2195),  # arrows
    (0x21D0, 0x21D5),
    (0x2200, 0x2212),  # quantifiers, nabla, sums, the true minus
    (0x2213, 0x2213),
    (0x2217, 0x221E),  # root, proportional, infinity
    (0x2225, 0x222E),  # parallel, logic, sets, integrals
    (0x223C, 0x223C),
    (0x2245, 0x2248),
    (0x2260, 0x2265),  # comparisons
    (0x226A, 0x226B),
    (0x2282, 0x2287),
    (0x2295, 0x2299),
    (0x22A5, 0x22A5),
    (0x22C5, 0x22C5),
    (0x2308, 0x230B),  # ceiling, floor
    (0x25A0, 0x25A1),
    (0x25CF, 0x25CF),
    (0x2713, 0x2717),
    (0x27E8, 0x27E9),  # angle brackets
    (0xFFFD, 0xFFFD),
]


def main(source: str) -> None:
    here = pathlib.Path(__file__).parent
    options = subset.Options()
    options.hinting = False
    options.layout_features = []
    options.drop_tables += ["GPOS", "GSUB", "GDEF", "kern", "FFTM", "gasp"]
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.name_languages = [0x409]
    options.notdef_outline = True
    options.glyph_names = False
    options.recalc_timestamp = False
    font = TTFont(source)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[c for a, b in RANGES for c in range(a, b + 1)])
    subsetter.subset(font)
    out = here / "DejaVuSans-subset.ttf"
    font.save(out)

    font = TTFont(io.BytesIO(out.read_bytes()))
    cmap, advances = font.getBestCmap(), font["hmtx"]
    assert font["head"].unitsPerEm == 2048
    runs: list[tuple[int, list[int]]] = []
    for code in sorted(cmap):
        width = advances[cmap[code]][0]
        if runs and runs[-1][0] + len(runs[-1][1]) == code:
            runs[-1][1].append(width)
        else:
            runs.append((code, [width]))
    lines = [
        "//! Made by `plot/font/make.py`; do not edit.",
        "",
        "/// The advance of the box drawn for a character that the font does not have.",
        f"pub(super) const NOTDEF: u16 = {advances['.notdef'][0]};",
        "",
        "/// Runs of consecutive characters: the first one's code point, and the advance of each in 1/2048 em.",
        "#[rustfmt::skip]",
        "pub(super) static RUNS: &[(u32, &[u16])] = &[",
    ]
    for first, widths in runs:
        rows = [widths[i : i + 18] for i in range(0, len(widths), 18)]
        body = ",\n        ".join(", ".join(map(str, row)) for row in rows)
        lines.append(f"    (0x{first:04X}, &[{body}])," if len(rows) == 1 else f"    (0x{first:04X}, &[\n        {body},\n    ]),")
    lines += ["];", ""]
    (here.parent / "src" / "font" / "advances.rs").write_text("\n".join(lines))
    print(out, out.stat().st_size, "bytes,", len(cmap), "characters")


if __name__ == "__main__":
    main(sys.argv[1])
