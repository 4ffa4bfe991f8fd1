"""Laws of the report: it says what the figures say, it trusts no text, and it is the same page every time."""

import base64
import hashlib
import io
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader
from PIL import Image

from tests.report.fake_run import KINDS, fake_evaluation, fake_run, painted, write_page
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json, write_jsonl
from wethink.dag.import_closure import closure
from wethink.evaluation.summary import summarise
from wethink.report.examples import choose, outcome, pairs, picture, proportions
from wethink.report.plots import Panel, curves, read_curves
from wethink.report.render import environment
from wethink.report.run_report import ASSETS, headline

HOSTILE = '<script src="https://evil.example/x.js"></script><img src=x onerror=alert(1)> {{ 7 * 7 }} ]]>'


class Tags(HTMLParser):
    """Every start tag of a page with its attributes; balanced says that what opens is closed."""

    VOID = ("meta", "img", "br", "link", "input", "line", "circle", "rect", "polyline")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture()
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return write_page(tmp_path, fake_run(tmp_path), monkeypatch)


def test_the_page_fetches_nothing_and_its_markup_is_whole(page: str) -> None:
    tags = Tags(page)
    assert tags.open == []
    for tag, attributes in tags.found:
        for name, value in attributes.items():
            if name in ("src", "srcset", "data", "poster", "action", "background", "xlink:href"):
                assert str(value).startswith("data:image/"), (tag, name)
            if name == "href":
                assert tag == "a"
        assert tag not in ("link", "iframe", "object", "embed", "base")
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_every_picture_has_words_and_every_header_a_scope(page: str) -> None:
    tags = Tags(page).found
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    plots = [attributes for tag, attributes in tags if tag == "svg"]
    assert plots and all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in plots)
    assert any("95 % interval" in str(a.get("aria-label")) for a in plots)


def test_text_of_models_and_data_is_never_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = fake_run(tmp_path, scenes=12)
    path = tmp_path / "evaluation" / "items.jsonl"
    fields = ("problem", "answer", "kind", "response", "extracted")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records = [
        record | dict.fromkeys(fields, HOSTILE) | {"source": f"s{HOSTILE}", "abilities": [HOSTILE]}
        for record in records
    ]
    write_jsonl(path, records)
    write_json(tmp_path / "evaluation" / "metrics.json", summarise(records, 20, 0))
    write_jsonl(tmp_path / "valid" / "quarantine.jsonl", [{"id": "1", "reasons": [HOSTILE]}])
    made = json.loads((tmp_path / "rows" / "metrics.json").read_text(encoding="utf-8"))
    write_json(tmp_path / "rows" / "metrics.json", made | {"rejected": {HOSTILE: 110}})
    page = write_page(tmp_path, images, monkeypatch)
    tags = Tags(page)
    assert [tag for tag, _ in tags.found].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert "&lt;script src=" in page and "{{ 7 * 7 }}" in page
    assert tags.open == []


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (write_page(home, fake_run(home), monkeypatch) for home in (tmp_path / "a", tmp_path / "b"))
    assert first == second
    assert str(tmp_path) not in first


def difference(mean: float, low: float, high: float) -> dict[str, Any]:
    one = {"mean": mean, "low": low, "high": high, "n": 9}
    return {"grpo_minus_sft": one | {"sampled": one}}


def test_the_headline_says_so_when_the_interval_includes_zero() -> None:
    said = headline(difference(0.008, -0.01, 0.024))
    assert said["main"] == (
        "No effect of GRPO is shown: +0.8 points against SFT, and the 95 % interval −1.0 to +2.4 includes 0 "
        "(greedy decoding)."
    )
    assert "includes 0" in said["more"]
    assert "No effect" in headline(difference(0.02, 0.0, 0.04))["main"]


def test_the_headline_says_gain_and_loss_and_how_it_was_decoded() -> None:
    gain, loss = headline(difference(0.133, 0.101, 0.165)), headline(difference(-0.05, -0.08, -0.02))
    assert gain["main"].startswith("GRPO adds 13.3 points") and "greedy" in gain["main"]
    assert gain["more"].startswith("Sampled answers gain")
    assert loss["main"].startswith("GRPO costs accuracy") and "−8.0 to −2.0" in loss["main"]


def test_the_gallery_mixes_outcomes_and_states_the_true_proportions() -> None:
    records, _ = fake_evaluation(90, 3)
    found = pairs(records, "sft")
    chosen = choose(found, 8, 0)
    for source in KINDS:
        mine = [pair for pair in chosen if pair[0]["source"] == source]
        assert len(mine) == 8 and len({pair[0]["scene"] for pair in mine}) == 8
        assert {outcome(pair) for pair in mine} == {"fixed", "broke", "both right", "both wrong"}
        assert max(sum(outcome(pair) == name for pair in mine) for name in ("fixed", "both right")) <= 4
    shares = proportions(found)
    assert sum(entry["count"] for entry in shares.values()) == len(found)
    assert shares["fixed"]["count"] == sum(a["verdict"] == "wrong" and b["verdict"] == "correct" for a, b in found)
    random.Random(0).shuffle(records)
    assert choose(pairs(records, "sft"), 8, 0) == chosen


def test_no_source_is_left_out_of_the_gallery_for_want_of_an_outcome() -> None:
    records, _ = fake_evaluation(30, 1)
    right = [record | {"verdict": "correct"} for record in records]
    assert len(choose(pairs(right, "sft"), 4, 0)) == 12


def test_a_large_image_is_scaled_down_and_a_small_one_is_kept_as_it_is() -> None:
    data, _ = painted(random.Random(0))
    small = picture(data)
    assert small.pixelated and small.uri.startswith("data:image/png")
    buffer = io.BytesIO()
    Image.effect_noise((1600, 900), 60).save(buffer, "JPEG")
    large = picture(buffer.getvalue())
    assert not large.pixelated and len(large.uri) < len(buffer.getvalue())


def test_curves_draw_the_columns_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,loss,note\n1,2.0,a\n2,1.0,b\n", encoding="utf-8")
    drawn = curves(read_curves(path), [Panel("Loss", {"loss": "loss"}), Panel("Reward", {"reward": "reward"})])
    assert [panel["title"] for panel in drawn] == ["Loss"]
    path.write_text("loss\n1\n", encoding="utf-8")
    with pytest.raises(UserError, match="step"):
        read_curves(path)
    with pytest.raises(UserError, match="does not exist"):
        read_curves(tmp_path / "none.csv")


def test_a_long_constant_curve_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,loss\n" + "".join(f"{n},0\n" for n in range(5000)), encoding="utf-8")
    svg = str(curves(read_curves(path), [Panel("Loss", {"loss": "loss"})])[0]["svg"])
    assert "nan" not in svg and len(svg) < 20_000


def test_an_evaluation_without_greedy_answers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = fake_run(tmp_path, scenes=6)
    records, _ = fake_evaluation(6, 0)
    sampled = [record for record in records if record["temperature"] > 0]
    write_jsonl(tmp_path / "evaluation" / "items.jsonl", sampled)
    write_json(tmp_path / "evaluation" / "metrics.json", summarise(sampled, 20, 0))
    with pytest.raises(UserError, match=r"evaluate\.temperatures"):
        write_page(tmp_path, images, monkeypatch)


def test_the_data_funnel_accounts_for_every_candidate(page: str) -> None:
    for said in ("650", "1,010", "900", "110 rejected", "888", "12 quarantined", "path does not lead to the answer"):
        assert said in page
    for said in ("885", "3 dropped", "asked before"):
        assert said in page


def test_the_page_s_policy_lets_its_own_script_run_and_no_other(page: str) -> None:
    script = page.split("<script>", 1)[1].split("</script>", 1)[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in page


def test_the_stage_names_every_template_that_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of a template must run the stage again: its import closure knows only what ASSETS names."""
    read: set[str] = set()
    plain = FileSystemLoader.get_source

    def recorded(loader: FileSystemLoader, environment: Environment, template: str) -> Any:
        read.add(f"templates/{template}")
        return plain(loader, environment, template)

    monkeypatch.setattr(FileSystemLoader, "get_source", recorded)
    environment.cache_clear()  # a compiled template would not be read again
    write_page(tmp_path, fake_run(tmp_path, scenes=12), monkeypatch)
    assert read == set(ASSETS) and len(ASSETS) == len(read)
    assert {Path("wethink/report") / name for name in ASSETS} <= set(closure("wethink.report.run_report"))


def test_controls_that_were_not_run_are_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = fake_run(tmp_path, scenes=12)
    records = [
        record
        for record in fake_evaluation(12, 0)[0]
        if record["checkpoint"] != "base" and record["pixels"] == "true" and record["temperature"] == 0
    ]
    write_jsonl(tmp_path / "evaluation" / "items.jsonl", records)
    write_json(tmp_path / "evaluation" / "metrics.json", summarise(records, 20, 0))
    page = write_page(tmp_path, images, monkeypatch)
    assert (
        page.count("not run") == 6 + 3
        and page.count("no other image") == 3
        and "Sampled answers were not compared." in page
    )


def test_grpo_straight_from_base_is_called_that_and_shown_against_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fake_run(tmp_path, scenes=12)
    write_json(tmp_path / "grpo" / "metrics.json", {"start": "base"})
    page = write_page(tmp_path, images, monkeypatch)
    assert "GRPO from base" in page and "SFT + GRPO" not in page and "<h4>Base " in page


def test_where_sft_passed_the_base_on_nothing_is_said_of_sft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = fake_run(tmp_path, scenes=12)
    write_json(tmp_path / "grpo" / "metrics.json", {"start": "base"})
    write_json(tmp_path / "sft" / "metrics.json", {"samples": 0, "steps": 0})
    page = write_page(tmp_path, images, monkeypatch)
    head = page[page.index("<h1") : page.index("</h1>")]
    assert "the base when asked for the format" in head and "SFT" not in head
    assert "Base asked for the format" in page and ">SFT<" not in page.split("<h3>SFT")[0]


def test_sources_of_ones_own_have_the_headline_and_every_source_its_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fake_run(tmp_path, scenes=24)
    summary = summarise(fake_evaluation(24, 0)[0], 20, 0, frozenset({"digits"}))
    write_json(tmp_path / "evaluation" / "metrics.json", summary)
    page = write_page(tmp_path, images, monkeypatch)
    assert "of your own sources (digits)" in page and "questions about drawn images" in page
    table = page[page.index("What the accuracy comes from, by source:") :]
    table = table[: table.index("</table>")]
    assert table.count("your own") == 1 and table.count("drawn") == 2
    for name, group in summary["sources"].items():
        assert name in table and f"{group['constant']['answer']}" in table
    assert "distance from the golds" in table


def test_refusals_have_rows_of_their_own_only_where_they_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fake_run(tmp_path)
    assert "Unanswerable questions" not in write_page(tmp_path, images, monkeypatch)
    summary = read_json(tmp_path / "evaluation" / "metrics.json")
    figures = {"accuracy": 0.4321, "low": 0.4, "high": 0.5, "n": 75, "refused": 0.0123}
    summary["unanswerable"] = {"items": 75, "scenes": 30} | {name: figures for name in ("base", "sft", "grpo")}
    write_json(tmp_path / "evaluation" / "metrics.json", summary)
    html = write_page(tmp_path, images, monkeypatch)
    assert "Unanswerable questions <small>rightly refused, 75 questions" in html
    assert "43.2" in html and "Refused although answerable" in html and "1.2" in html
