"""The page: what stands in it, that names cannot do harm, and that it works in a real browser."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import browser, executable
from PIL import Image
from synthetic_store import SETS, probe, records, simulate, write_run

from reports.build import build
from reports.figures.samples import Album
from reports.formats.page_data import histogram, numbers

NASTY = "<script>alert(1)</script>"
CLOSING = '"></script><img src=x onerror="alert(2)">'


def data_of(text):
    """What the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def page_of(output):
    build("three_task", output, formats=["html"])
    return (output / "reports/three_task/report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two baselines, four strategies (two of them a sweep with art), three seeds, everything a run can leave."""
    output = tmp_path_factory.mktemp("page")
    generator = np.random.default_rng(0)
    for baseline in ("transweather", "airnet"):
        for strategy, gain in {"mix": 3.0, "art": 2.5, "art:tau=1": 3.2, "art:tau=10": 3.3}.items():
            for seed in range(3):
                psnr = {name: 20 + gain + 0.1 * generator.standard_normal() for name in SETS}
                tau = {"tau": float(strategy.partition("tau=")[2] or 0.1)} if strategy != "mix" else {}
                write_run(output, baseline, strategy, seed, psnr, rhythm=simulate(strategy, 60, seed), parameters=tau,
                          conflict=probe(strategy, 60, seed), samples=seed == 0)  # fmt: skip
    write_run(output, "airnet", "mix", 3, -9.0, status=("done", "collapsed: constant output on 5 of 5 test sets"))
    return output


@pytest.fixture(scope="module")
def page(store):
    return page_of(store)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "srcset")]


def test_the_file_stands_alone(page):
    assert len(page) < 5_000_000
    assert all(address.startswith(("#", "data:", "report")) for address in Tags(page).addresses)
    assert "@import" not in page and "url(" not in page
    assert "default-src 'none'" in page


def test_the_summary_and_warnings_come_first(page):
    text = page[: page.index("<main>")]
    assert re.search(r"Art against mix, TransWeather, three_task, 3 seeds: -0\.\d\d dB \(n=3, -\d\.\d\d to ", text)
    assert "better on 0 of 5 test sets. Verdict: loss." in text
    for words in ("Embedded data", "Tiny networks", "AirNet, mix, seed 3: collapsed"):
        assert words in text


def test_notes_are_sorted_by_their_severity(tmp_path):
    paper = {"size": "paper", "profile": "paper", "data.source": "files"}
    write_run(tmp_path, "promptir", psnr=3.0, data=records("real"), config=paper)
    head, _, end = page_of(tmp_path).partition("<main>")
    for warning in ("Fewer than 10 images", "One seed"):
        assert warning in head and warning not in end
    assert "Published PromptIR, mix: " in end[end.index('id="notes"') :] and "Published PromptIR" not in head


def test_what_is_drawn_is_what_was_measured(page):
    data = data_of(page)
    (airnet, transweather) = data["baselines"]
    assert airnet["strategies"][0] == "mix" and transweather["name"] == "TransWeather"
    assert [len(airnet[name]) for name in ("rhythms", "conflicts", "images", "samples")] == [4, 4, 5, 5]
    assert len(airnet["rhythms"][1]["share"]["lines"]) == 5
    gains = airnet["images"][0]["strategies"][0]
    assert gains["n"] == 5 == sum(gains["bars"]["counts"])
    assert len(data["pictures"]) < 5 * (2 + 4)  # the degraded and the clean one are kept once
    assert data["sweeps"][0]["names"] == ["tau=0.1", "tau=1", "tau=10"]


def test_rebuilding_gives_the_same_bytes(store, page):
    assert page_of(store) == page


def test_names_are_text_wherever_they_come_from(tmp_path):
    nasty = {"role": "test", "task": NASTY, "dataset": CLOSING, "found": 5, "expected": 9, "origin": NASTY}
    tasks = [NASTY, CLOSING]
    for strategy in ("mix", NASTY, CLOSING):
        run = write_run(
            tmp_path, "odd_name", strategy.replace("/", "-"), psnr=3.0, rhythm=simulate("mix", 20, tasks=tasks),
            conflict=probe(tasks=tasks), status=("done", NASTY), overrides=(CLOSING,), data=[*records(), nasty],
        )  # fmt: skip
        record = run.record.content() | {"display": {"baseline": NASTY, "setting": CLOSING}}
        record["config"]["strategy"] = strategy
        run.write_json("config.json", record)
        run.write_json("environment.json", {"device": NASTY, "commit": CLOSING})
        run.write_scores(run.scores().assign(image=lambda table: NASTY + table["image"]))
    text = page_of(tmp_path)
    tags = Tags(text)
    assert tags.tags.count("script") == 2 and "img" not in tags.tags
    names = json.dumps(data_of(text))
    assert NASTY in names and CLOSING.replace('"', r"\"") in names


def test_missing_and_infinite_numbers_are_null():
    assert numbers([1.23456, math.nan, math.inf, 0.0]) == [1.235, None, None, 0.0]


def test_a_histogram_counts_every_image_and_has_an_edge_at_zero():
    values = np.random.default_rng(0).normal(0.2, 0.5, 1000)
    bars = histogram(values)
    assert sum(bars["counts"]) == 1000
    assert bars["start"] / bars["width"] == pytest.approx(round(bars["start"] / bars["width"]))
    below = bars["counts"][: round(-bars["start"] / bars["width"])]
    assert sum(below) == (values < 0).sum()
    assert histogram(np.zeros(3))["counts"] == [3] and sum(histogram(np.array([0.1, 0.3]))["counts"]) == 2


def test_pictures_shrink_to_their_budget_and_broken_ones_are_left_out(tmp_path):
    album = Album()
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    assert album.add(Image.fromarray(noise)) == album.add(Image.fromarray(noise)) == 0
    (large,), (small,) = album.encoded(), album.encoded(budget=20_000)
    assert large.startswith("data:image/jpeg;base64,") and len(small) <= 20_000 < len(large)
    run = write_run(tmp_path, psnr=3.0, samples=True)
    (run.folder / f"samples/{SETS[0]}.png").write_bytes(b"no picture")
    assert [entry["dataset"] for entry in data_of(page_of(tmp_path))["baselines"][0]["samples"]] == SETS[1:]


def test_a_page_of_nothing_but_failures(tmp_path):
    write_run(tmp_path, status=("failed", "out of memory"))
    text = page_of(tmp_path)
    assert "No gain to report so far" in text and "out of memory" in text and "data-draw=" not in text


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if executable() is None:
        pytest.skip("no Chromium here; apt-get install chromium gives one")
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (768, True), (360, False)])
def test_it_renders_without_error_or_request_at_every_width(store, page, tab, width, dark):
    file = store / "reports/three_task/report.html"
    tab.trouble.clear(), tab.requests.clear()
    tab.open(file, width=width, dark=dark)
    assert tab.trouble == []
    assert {address for address in tab.requests if not address.startswith("data:")} == {file.resolve().as_uri()}
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert (
        tab.run(
            "[...document.querySelectorAll('.chart svg')].filter(s => s.querySelector('path, circle, rect')).length"
        )
        > 12
    )
    assert tab.run("[...document.images].every(image => image.complete && image.naturalWidth)")
    assert "NaN" not in tab.run("[...document.querySelectorAll('svg')].map(s => s.outerHTML).join('')")


def test_a_table_that_goes_on_says_so(store, page, tab):
    tab.open(store / "reports/three_task/report.html", width=360)
    boxes = "[...document.querySelectorAll('main .frame > .scroll')]"
    wide = tab.run(f"{boxes}.map(box => box.scrollWidth > box.clientWidth + 2)")
    assert any(wide)
    assert tab.run(f"{boxes}.map(box => box.classList.contains('more-right'))") == wide
    assert tab.run(f"{boxes}.map(box => !box.parentElement.nextElementSibling.hidden)") == wide
    assert "more columns: scroll sideways" in tab.run("document.querySelector('#gains .more').innerText")
    tab.run(f"{boxes}.forEach(box => box.scrollLeft = 9999)")
    tab.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert not tab.run("document.querySelectorAll('.more-right, .more:not([hidden])').length")


def test_on_paper_no_table_leaves_the_page(store, page, tab):
    tab.open(store / "reports/three_task/report.html", width=703)  # A4 upright, in CSS pixels
    tab.call("Emulation.setEmulatedMedia", media="print")
    tables = "[...document.querySelectorAll('main section:not(#gains) table')]"  # that one is printed across
    assert not tab.run(f"{tables}.filter(table => table.getBoundingClientRect().right > 703).length")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.call("Emulation.setEmulatedMedia", media="")


def test_no_image_is_among_the_best_and_the_worst(page):
    sets = [images for baseline in data_of(page)["baselines"] for images in baseline["images"]]
    for entry in (entry for images in sets for entry in images["strategies"]):
        best, worst = ({name for name, _ in entry[kind]} for kind in ("best", "worst"))
        assert len(best) == len(worst) == 2 and not best & worst  # of five


def test_it_answers_to_the_keyboard_and_the_choices(store, page, tab):
    tab.open(store / "reports/three_task/report.html")
    tab.run("document.querySelector('#gains th:nth-child(3) button').focus()")
    tab.press("Enter")
    column = "[...document.querySelectorAll('#gains tbody tr')].map(r => Number(r.cells[2].dataset.value))"
    assert tab.run(column) == sorted(tab.run(column), reverse=True)
    tab.run("document.querySelector('#rhythm svg').focus()")
    for _ in range(3):
        tab.press("ArrowRight")
    assert tab.run("document.querySelector('#rhythm .tip').innerText").startswith("step 3\n")
    tab.run("document.querySelector('.slider input').focus()")
    tab.press("Home")
    assert tab.run("document.querySelector('.slider .edge').style.left") == "0%"
    tab.run("const b = document.getElementById('baseline'); b.value = 1; b.dispatchEvent(new Event('change'))")
    assert tab.run("document.querySelectorAll('#rhythm .chart').length") == 4
    tab.run("document.querySelector('#strategies input').click()")
    assert tab.run("document.querySelectorAll('#rhythm .chart').length") == 3
    assert tab.trouble == []


def test_nasty_names_do_nothing_in_a_browser(tmp_path, tab):
    test_names_are_text_wherever_they_come_from(tmp_path)
    tab.trouble.clear()
    tab.open(tmp_path / "reports/three_task/report.html")
    assert tab.trouble == []
    for select in ("baseline", "course", "image-set", "image-strategy"):  # whatever can be shown was shown
        for place in range(tab.run(f"document.getElementById('{select}').length")):
            tab.run(f"var s = document.getElementById('{select}'); s.selectedIndex = {place}")
            tab.run("s.dispatchEvent(new Event('change'))")
    charts = "[...document.querySelectorAll('.chart svg')]"
    tab.run(f"{charts}.forEach(c => c.dispatchEvent(new KeyboardEvent('keydown', {{key: 'Home'}})))")
    assert NASTY in tab.run("document.querySelector('#images .tip').innerText")
    assert tab.trouble == []
    assert tab.run("document.querySelectorAll('main script, main img').length") == 0
    assert NASTY in tab.run("document.getElementById('rhythm').innerText")
