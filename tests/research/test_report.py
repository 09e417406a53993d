"""The listening page: whole, self-contained, true to its sounds, and alive in a browser where there is one."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from gansep.audio import read
from gansep.research.report import Answer, Example, Sound, Table, write_page
from gansep.types import DataError, OutputError

CLIPS = Path(__file__).parents[1] / "clips"
HOOK = Path(__file__).with_name("report_hook.js")
NASTY = "<b>&\"'.wav</script>"
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
VOID = {"meta", "link", "img", "br"}
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)


class Page(HTMLParser):
    """Every tag with its attributes, the text, and whether each tag that opens is closed in its place."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def example(title: str = "drums and piano") -> Example:
    """Two clips, their mixture, and answers: the truth, one with a missing stem and NaN, one with a strange name."""
    drums, piano = (read(CLIPS / f"{name}.flac")[0][:, :8000] for name in ("drums", "piano"))
    references = {"drums": Sound(drums, 16000), "piano": Sound(piano, 16000)}
    figures = {"si_sdr": 3.0, "si_sdr_improvement": 12.25}
    answers = [
        Answer("zero", {"drums": Sound(0 * drums, 16000)}, {"drums": {"si_sdr_improvement": math.nan}}),
        Answer("truth", references, {"drums": figures, "piano": {"si_sdr_improvement": -2.0}}, "told the sources"),
        Answer(NASTY, {"drums": Sound(3 * piano, 16000)}, {"drums": {"si_sdr_improvement": 1.5}}, NASTY),
    ]
    return Example(title, Sound(drums + piano, 16000), references, answers)


def table() -> Table:
    rows = [
        ["b", "12.3 [10.1, 14.0]", 0.5],
        ["a", "-4.0 [-9, 1]", math.nan],
        [NASTY, DASH, 3],
        ["c", "9.9 [1, 2]", -1.0],
    ]
    return Table("Gain", ["row", "gain [95 %]", "cost"], rows, "A caption.")


def written(path: Path, **content: object) -> Page:
    write_page(path, f"A page about {NASTY}", **content)  # pyright: ignore[reportArgumentType]
    return Page(path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, f"A page about {NASTY}", intro=[NASTY], tables=[table()], examples=[example(), example(NASTY)])
    return path


def test_it_is_well_formed_and_asks_for_nothing(page: Path) -> None:
    parsed = Page(page)
    assert not parsed.open
    addresses = [
        value for _, attributes in parsed.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert len(addresses) > 20
    assert all(address.startswith(("data:", "#")) for address in addresses)
    content = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.read_text(encoding="utf-8"))
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import|fetch\(|XMLHttpRequest", content)
    policy = next(one["content"] for one in parsed.all("meta") if "http-equiv" in one)
    assert "default-src 'none'" in policy


def test_names_are_shown_as_they_are_and_make_no_tags(page: Path) -> None:
    parsed = Page(page)
    plain = " ".join(NASTY.split())
    assert parsed.text.count(plain) >= 7  # title twice, intro, table, heading, rows and notes
    assert "b" not in {tag for tag, attributes in parsed.tags if not attributes}
    assert sum(tag == "script" for tag, _ in parsed.tags) == 1
    assert f"{NASTY}, drums" in {audio["aria-label"] for audio in parsed.all("audio")}


def test_sounds_come_back_with_one_gain(page: Path) -> None:
    parsed, made = Page(page), example()
    gain = float(next(one["data-gain"] for one in parsed.all("section") if "data-gain" in one))
    loudest = max(float(3 * made.references["piano"].wave.abs().max()), float(made.mixture.wave.abs().max()))
    assert gain == pytest.approx(32767 / 32768 / loudest)
    assert f"{20 * math.log10(gain):+.1f}".replace("-", MINUS) + " dB" in parsed.text
    sounds = {}
    for audio in parsed.all("audio"):
        content = base64.b64decode(audio["src"].removeprefix("data:audio/flac;base64,"), validate=True)
        sounds[audio["aria-label"]] = soundfile.read(io.BytesIO(content), always_2d=True)[0].T
    expected = {"mixture": made.mixture} | {f"reference {name}": one for name, one in made.references.items()}
    expected |= {f"{one.row}, {name}": sound for one in made.answers for name, sound in one.stems.items()}
    assert set(sounds) == set(expected)
    for name, sound in expected.items():
        assert np.abs(sounds[name] - gain * sound.wave.double().numpy()).max() <= 0.5001 / 32768


def test_figures_are_shown_and_missing_ones_are_dashes(page: Path) -> None:
    text = Page(page).text
    assert "SI-SDR improvement 12.2 SI-SDR 3.0" in text  # the improvement first, though it was given last
    assert "truth told the sources 5.1" in text  # the mean over sources
    assert f"zero {DASH} " in text
    assert "nan" not in text.lower()
    assert "SI-SDR less that of the mixture itself; dB, higher is better" in text


def test_a_table_shows_its_cells(page: Path) -> None:
    assert "b 12.3 [10.1, 14.0] 0.50" in Page(page).text
    assert f"a {MINUS}4.0 [{MINUS}9, 1] {DASH}" in Page(page).text


def test_without_references_there_are_no_figures(tmp_path: Path) -> None:
    """A stem of another rate has no mask; channels and lengths may differ."""
    noise = torch.rand(2, 9000, generator=torch.Generator().manual_seed(0)) - 0.5
    answers = [Answer("nmf", {"component-1": Sound(noise, 44100), "component-2": Sound(noise[:, ::2], 22050)}, {})]
    parsed = written(tmp_path / "page.html", examples=[Example("song", Sound(noise, 44100), {}, answers)])
    assert [image["alt"] for image in parsed.all("img")] == [
        "spectrogram: mixture",
        "spectrogram: nmf, component-1",
        "mask: nmf, component-1",
        "spectrogram: nmf, component-2",
    ]
    assert "mean" not in parsed.text
    assert "improvement" not in parsed.text


def test_silence_and_a_mixture_alone_make_a_page(tmp_path: Path) -> None:
    silence = Example("silence", Sound(torch.zeros(1, 100), 8000), {}, [])
    parsed = written(tmp_path / "new" / "page.html", examples=[silence])
    assert len(parsed.all("audio")) == 1
    assert not parsed.all("table")


def test_examples_are_held_one_at_a_time(tmp_path: Path) -> None:
    """The file has grown by an example before the next is asked for."""
    path, sizes = tmp_path / "page.html", []

    def made() -> Iterator[Example]:
        for number in range(4):
            sizes.append(sum(file.stat().st_size for file in tmp_path.iterdir()))
            yield example(f"number {number}")

    written(path, examples=made())
    assert sizes[0] < 20_000
    assert sizes[1] < sizes[2] < sizes[3]
    assert path.stat().st_size > sizes[3]


def test_figures_are_files_or_bytes(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    pixel = b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    image.write_bytes(base64.b64decode(pixel))
    parsed = written(tmp_path / "page.html", figures={"one": image, NASTY: image.read_bytes()})
    assert [one["src"].split(",")[1].encode() for one in parsed.all("img")] == [pixel, pixel]
    wide = image.read_bytes()[:16] + (900).to_bytes(4, "big") + image.read_bytes()[20:]
    assert [one["width"] for one in written(tmp_path / "page.html", figures={"wide": wide}).all("img")] == ["600"]
    with pytest.raises(DataError, match=r"missing\.png"):
        written(tmp_path / "page.html", figures={"gone": tmp_path / "missing.png"})
    with pytest.raises(ValueError, match="PNG"):
        written(tmp_path / "page.html", figures={"text": b"text"})


def test_what_fails_leaves_the_old_page_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def broken() -> Iterator[Example]:
        yield example()
        raise FileNotFoundError("a stem is gone")

    with pytest.raises(FileNotFoundError, match="a stem is gone"):  # not taken for the page's own
        write_page(path, "page", examples=broken())
    with pytest.raises(ValueError, match="3 cells"):
        write_page(path, "page", tables=[Table("t", ["a", "b", "c"], [["1"]])])
    made = example()
    with pytest.raises(ValueError, match="one answer a row"):
        write_page(path, "page", examples=[Example("x", made.mixture, {}, [*made.answers, made.answers[0]])])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another place"):
        write_page(tmp_path / "file" / "page.html", "page")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder"):
        write_page(tmp_path / "folder", "page")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def ran(page: Path, folder: Path) -> dict[str, Any]:
    """What the hook found in a copy of the page; tried again where a slow machine's browser stopped too early."""
    path, hook = folder / "hooked.html", HOOK.read_text(encoding="utf-8")
    path.write_text(
        page.read_text(encoding="utf-8").replace("<script>", f"<script>{hook}</script>\n<script>", 1), encoding="utf-8"
    )
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"]
    options += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder / 'profile'}"]
    said = ""
    for _ in range(3):
        done = subprocess.run([str(BROWSER), *options, path.as_uri()], capture_output=True, text=True, timeout=60)
        if body := re.search(r"<body>(\{.*\})", done.stdout, re.DOTALL):
            return json.loads(unescape(body[1]))
        said = done.stderr[-2000:]
    pytest.fail(f"the page found out nothing about itself\n{said}")


@pytest.mark.skipif(BROWSER is None, reason="no chromium, google-chrome or chromium-browser is installed")
def test_it_lives_in_a_browser(page: Path, tmp_path: Path) -> None:
    result = ran(page, tmp_path)
    down = ["12.3 [10.1, 14.0]", "9.9 [1, 2]", f"{MINUS}4.0 [{MINUS}9, 1]", DASH]
    assert result["sorts"] == [
        ["descending", 1, down],
        ["ascending", 1, [*down[2::-1], DASH]],
        ["ascending", 1, [NASTY, "a", "b", "c"]],
        ["descending", 1, ["3", "0.5", "-1", ""]],
        ["descending", 1, ["12.25", "1.5", ""]],
        ["descending", 1, ["5.125", "1.5", ""]],
    ]
    assert result["controls"] == 0
    assert result["durations"] == pytest.approx([0.5] * 14)
    assert result["time"] == pytest.approx(0.25, abs=0.01)
    assert result["before"] == ["visible", "hidden"]
    assert result["after"] == ["hidden", "visible"]
    assert result["cursor"] == pytest.approx(0.5, abs=0.02)
    assert result["rows"] == [1, 0, 0]
    assert result["playing"] == [["Pause mixture", [0]], ["Pause reference drums", [1]]]
    assert result["links"] == [True] * 4
    assert result["pictures"]
    assert result["wide"] <= 0
    assert result["errors"] == []
