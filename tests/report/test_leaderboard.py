"""The leaderboard: it says what was measured and what was not, trusts no text, and holds in a real browser."""

import shutil
from pathlib import Path

import pytest

from tests.evaluation.test_benchmark_job import COLOURS, SETTINGS, Seer
from tests.evaluation.test_benchmark_tables import cell, png, write_table
from wethink.common.jsonl import read_json, write_json
from wethink.data.benchmark_table import Table
from wethink.evaluation.benchmarks.engines import Query, Reply
from wethink.evaluation.benchmarks.run import Settings, run
from wethink.report.leaderboard import write_leaderboard

HOSTILE = '<script>document.title = "owned"</script><img src=x onerror=alert(1)> {{ 7 * 7 }}'


class Hostile(Seer):
    """Writes markup where a response should be."""

    def answer(self, queries: "list[Query]") -> list[Reply]:  # type: ignore[override]
        return [Reply(f"<think>{HOSTILE}</think><answer>B</answer>", 9) for _ in queries]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on a table of hostile texts, and one of them on VLMEvalKit's MMStar, scored by the kit."""
    home = tmp_path_factory.mktemp("board")
    rows = [
        {
            "index": str(n),
            "image": cell(png(COLOURS[n % 4], 8 + n)),
            "question": f"Which colour? {HOSTILE}",
            **dict(zip("ABCD", COLOURS, strict=True)),
            "answer": "ABCD"[n % 4],
            "category": HOSTILE if n % 2 else "plain",
        }
        for n in range(120)
    ]
    table = Table(write_table(home / "Hostile.tsv", rows))
    run(table, Hostile(), Settings("base", batch=50), home / "out")
    run(table, Seer(), SETTINGS, home / "out")
    official = home / "out" / "MMStar" / "vlmevalkit-grpo"
    official.mkdir(parents=True)
    write_json(official / "about.json", {"label": "grpo", "table": str(home / "none.tsv")})
    (official / "grpo_MMStar_exact_matching_result.tsv").write_text(
        "index\tprediction\thit\tcategory\n1\tA\t1\tx\n2\tB\t0\tx\n3\tC\t1\ty\n4\tD\t1\ty\n", encoding="utf-8"
    )
    return write_leaderboard(home / "out", home / "page", ["base", "seer"])


def test_no_text_of_tables_or_models_becomes_markup(page: Path) -> None:
    pages = [page, *page.parent.rglob("items/**/*.html")]
    assert len(pages) == 1 + 2 * 2
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert "<script>document" not in text
        assert "<img src=x" not in text
    assert any("&lt;script&gt;document.title" in path.read_text(encoding="utf-8") for path in pages)


def test_every_benchmark_is_filled_or_says_what_is_missing_and_published_rows_are_marked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = read_json(page.parent / "leaderboard.json")
    assert len(found["benchmarks"]) == 15
    assert text.count("not run: ") == 13
    assert text.count(">published</span>") == 3  # MMStar's: three models of that board
    star = next(entry for entry in found["benchmarks"] if entry["name"] == "MMStar")
    assert star["rows"][0]["figures"]["accuracy"]["value"] == 0.75 and "scored by VLMEvalKit" in text


def test_the_best_constant_answer_stands_beside_each_number_and_no_protocol_where_there_is_none(
    page: Path, tmp_path: Path
) -> None:
    hostile = next(e for e in read_json(page.parent / "leaderboard.json")["benchmarks"] if e["name"] == "Hostile")
    assert all(row["constant"] == {"answer": "A", "chance": 0.25, "value": 0.25} for row in hostile["rows"])
    assert "always “A”; chance" in " ".join(page.read_text(encoding="utf-8").split())
    rows = [{"index": str(n), "image": cell(png("red", 8 + n)), "question": "?", "answer": "7"} for n in range(3)]
    run(Table(write_table(tmp_path / "Mine.tsv", rows)), Seer(), Settings("m", controls=False), tmp_path / "out")
    mine = write_leaderboard(tmp_path / "out", tmp_path / "page")
    row = next(e for e in read_json(mine.parent / "leaderboard.json")["benchmarks"] if e["name"] == "Mine")["rows"][0]
    assert row["kit"] == {} and row["constant"]["value"] == 1.0
    cells = mine.read_text(encoding="utf-8").split('id="Mine"')[1].split("</table>")[0]
    assert cells.count('<span class="muted">–</span>') == 3  # blank, shuffled, VLMEvalKit's protocol


def test_every_item_of_every_run_can_be_reached(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    addresses = [part.split('"')[0] for part in text.split('href="')[1:] if part.startswith("items/")]
    assert len(addresses) == 2
    for address in addresses:
        first = (page.parent / address).read_text(encoding="utf-8")
        second = (page.parent / address).with_name("2.html").read_text(encoding="utf-8")
        assert first.count('<article class="card"') + second.count('<article class="card"') == 120
        assert '<a href="2.html">next</a>' in first


def test_the_same_results_make_the_same_page(page: Path) -> None:
    again = write_leaderboard(page.parent.parent / "out", page.parent.parent / "again", ["base", "seer"])
    assert again.read_bytes() == page.read_bytes()


def test_the_leaderboard_holds_in_a_browser(page: Path) -> None:
    """Headless Chromium: no script of a text runs, no request leaves, pictures load, the filters filter."""
    from playwright.sync_api import sync_playwright

    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    assert found, "Chromium is needed to look at the pages (Debian: apt install chromium)"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1200, "height": 900})
        complaints: list[str] = []
        requests: list[str] = []
        view.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        view.on("dialog", lambda dialog: complaints.append(dialog.message))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(page.as_uri())
        assert view.title() == "WeThink: leaderboard"
        assert view.locator("section").count() == 3
        assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        view.click("text=every item >> nth=1")
        assert "items" in view.title()
        view.locator(".card img").first.scroll_into_view_if_needed()
        view.wait_for_function("document.querySelector('.card img').naturalWidth > 0")
        view.click('button[data-value="wrong"]')
        assert view.locator(".card:visible").count() == 0
        view.click('button[data-value="correct"]')
        assert view.locator(".card:visible").count() == 100
        view.set_viewport_size({"width": 380, "height": 800})
        assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
        browser.close()
    assert not complaints and all(url.startswith("file:") for url in requests), (complaints, requests)
