"""Files of pictures: small, the same every time, and with the colours that were drawn."""

import io

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from karat.analyses.pictures import DPI, WIDTH, panels, png_of, styled, svg_of


def _figure(layout: str = "constrained") -> Figure:
    with styled() as module:
        figure: Figure = module.Figure(figsize=(WIDTH, 2.0), layout=layout)
        ((left, right),) = panels(figure, 1, 2)
        left.imshow(np.linspace(-1, 1, 400).reshape(20, 20), cmap="PuOr")
        right.imshow(np.linspace(0, 1, 400).reshape(20, 20), cmap="gray")
        right.set_title("weights of 1 < 2 & 3")
    return figure


def test_few_colours_are_those_that_were_drawn() -> None:
    figure = _figure()
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=DPI)
    drawn = np.asarray(Image.open(buffer).convert("RGB")).astype(int)
    kept = np.asarray(Image.open(io.BytesIO(png_of(figure))).convert("RGB")).astype(int)
    assert np.abs(drawn - kept).max() <= 4


def test_a_picture_is_the_same_every_time() -> None:
    assert svg_of(_figure()) == svg_of(_figure())


def test_the_second_file_has_the_layout_of_the_first() -> None:
    for layout in ("constrained", "none"):
        figure, other = _figure(layout), _figure(layout)
        svg_of(figure)
        assert png_of(figure) == png_of(other)


def test_text_stays_text_and_no_date_is_in_the_file() -> None:
    text = svg_of(_figure()).decode()
    assert "weights of 1 &lt; 2 &amp; 3" in text
    assert "<metadata>" not in text
    assert "<!--" not in text
