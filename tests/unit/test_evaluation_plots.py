"""Plots: files that other programs can read, and refusals before the work is done."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from es_semantic.errors import MissingExtra, UsageError
from es_semantic.evaluation.judgements import Judgements
from es_semantic.evaluation.lists import Missing
from es_semantic.evaluation.plots import page, require_plot, save, tuning_figure
from es_semantic.evaluation.statistics import Interval
from es_semantic.evaluation.tune import Tried, Tuning
from es_semantic.schema.ranking import Ranking


def tuning() -> Tuning:
    judged = Judgements("judged", {"q": "text"}, {"q": {"d": 1}})
    tried = tuple(
        Tried(Ranking(method="linear", weights={"bm25": 1 - share, "knn": share}), share) for share in (0.25, 0.5, 0.75)
    )
    auto = Tried(Ranking(), 0.3)
    return Tuning(
        index="index",
        field="semantic",
        judged=judged,
        queries=1,
        current=auto,
        best=tried[-1],
        tried=(auto, *tried),
        chosen=(tried[-1].ranking,),
        held_out=0.7,
        gain=0.4,
        interval=Interval(0.1, 0.5),
        helps=True,
        stored=False,
        missing=Missing(0, 1),
    )


def test_a_png(tmp_path: Path) -> None:
    path = tmp_path / "plot.PNG"
    save(tuning_figure(tuning()), path, title="a title", data={})
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width > 600
    assert height > 200


def test_an_html_page(tmp_path: Path) -> None:
    path = tmp_path / "plot.html"
    save(tuning_figure(tuning()), path, title="<b>战国</b> & more", data={"key": "</pre><script>"})
    text = path.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "&lt;b&gt;战国&lt;/b&gt; &amp; more" in text
    svg = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]
    words = [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]
    assert "linear, minmax" in words
    assert "http" not in text.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")


def test_a_page_of_numbers() -> None:
    text = page("<?xml?><svg></svg>", "t", {"ndcg@10": 0.5})
    assert "<?xml?>" not in text
    assert "&quot;ndcg@10&quot;: 0.5" in text


@pytest.mark.parametrize(
    ("name", "said"), [("plot.pdf", "which format"), ("plot", "which format"), ("no/such/x.png", "no folder")]
)
def test_what_cannot_be_drawn(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_plot(tmp_path / name)


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "plot.png").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        require_plot(tmp_path / "plot.png")
    with pytest.raises(UsageError, match="cannot be written"):
        save(tuning_figure(tuning()), tmp_path / "plot.png", title="t", data={})


def test_nothing_is_needed_where_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    require_plot(None)
    with pytest.raises(MissingExtra) as caught:
        require_plot(tmp_path / "plot.png")
    assert caught.value.hint == "pip install 'es-semantic[eval]'"
