"""Human audit of a stratified random sample of rows: page for verdicts, estimate of the error rate.

Drawn images have a known truth; your own images have none, so a person must judge them. `sample` draws rows in
proportion to their strata (source and question type), no two about the same scene, and writes one page with them. The
page saves a small file with the verdicts and all that the estimate needs, made to be versioned (`dvc add`).
`estimate` reads that file.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, read_json, write_json
from wethink.common.statistics import wilson
from wethink.curation.verdicts import VERDICTS
from wethink.data.image_store import ImageSet
from wethink.data.schema import read_rows, row_images
from wethink.data.stratified_sample import draw, stratum
from wethink.report.examples import picture

PAGE = Path(__file__).resolve().parent / "templates" / "audit.html"


def sample(images: Path, valid: Path, out: Path, count: int, seed: int) -> int:
    """Write the page with `count` rows and return how many it holds.

    It holds fewer if there are fewer scenes.

    Raises:
        UserError: there are no rows.
    """
    rows = list(read_rows(valid / "rows.jsonl"))
    if not rows or count < 1:
        raise UserError(f"{valid / 'rows.jsonl'} has {len(rows)} rows and --rows is {count}; both must be at least 1.")
    chosen = draw(rows, count, seed)
    population = Counter(map(stratum, rows))
    stored = ImageSet(images)
    shown = [
        {key: row[key] for key in ("id", "problem", "answer", "category", "source", "refined_cot")}
        | {"stratum": stratum(row)}
        | {"thumbs": [asdict(picture(stored.bytes(image))) for image in row_images(row)]}
        for row in chosen
    ]
    identity = content_id(seed, [row["id"] for row in chosen], dict(population))
    data = {"sample": identity, "population": dict(sorted(population.items())), "rows": shown}
    text = json.dumps(data, ensure_ascii=True, sort_keys=True).replace("<", "\\u003c")  # no text can end the script
    page = PAGE.read_text(encoding="utf-8")
    script = page.split("<script>", 1)[1].split("</script>", 1)[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page.replace("{{ script_hash }}", allowed).replace("{{ data }}", text), encoding="utf-8")
    return len(chosen)


def estimate(verdicts: Path, out: Path, max_unjudged: float) -> dict[str, Any]:
    """Estimate the share of wrong rows from a saved file; write it to `out`, too.

    Strata are weighted by how many rows they have; the interval is Wilson's at the effective sample size, at 95 %.
    A corrected row was wrong. Rows with the verdict 'unsure' or without one are counted and left out: unknown is not
    wrong. Where they are more than `max_unjudged` of the sample, the counts are written and the error rate is withheld:
    rows that people skip are not like those that they judge.

    Raises:
        UserError: the file is not one that the page saved, holds no verdict, or has too few.
    """
    given = read_json(verdicts, "name the file that the audit page saved")
    try:
        population, judged = dict(given["population"]), list(given["rows"])
        decided = [row for row in judged if row["verdict"] in VERDICTS and row["verdict"] != "unsure"]
        known = [(row["stratum"], row["verdict"] != "accept") for row in decided]
        weight = {name: population[name] / _judged(known, name) for name, _ in known}
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{verdicts} is no file that the audit page saved; save it again from the page.") from None
    if not known:
        raise UserError(f"{verdicts} holds no verdict yet; accept or reject some rows and save again.")
    weights = [weight[name] for name, _ in known]
    value = sum(w for w, (_, wrong) in zip(weights, known, strict=True) if wrong) / sum(weights)
    low, high = wilson(value, sum(weights) ** 2 / sum(w * w for w in weights))
    strata = {
        name: {
            "judged": _judged(known, name),
            "wrong": sum(wrong for other, wrong in known if other == name),
            "rows": population[name],
        }
        for name in sorted(weight)
    }
    unsure = sum(row["verdict"] == "unsure" for row in judged)
    unjudged = (len(judged) - len(known)) / len(judged)
    error = {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6), "n": len(known)}
    result = {
        "sample": given.get("sample"),
        "error": error if unjudged <= max_unjudged else None,
        "judged": len(known),
        "unsure": unsure,
        "open": len(judged) - len(known) - unsure,
        "strata": strata,
        "strata_without_verdict": sorted(set(population) - set(strata)),
    }
    write_json(out, result)
    if result["error"] is None:
        raise UserError(
            f"{verdicts}: {counts(result)}; quality.max_unjudged allows {max_unjudged:.0%} of {len(judged)} without a "
            f"verdict, so no error rate is given ({out} has the counts). Judge more rows on the page and save again."
        )
    return result


def counts(found: Record) -> str:
    """Format what an estimate's sample holds, judged or not."""
    said = f"{found['judged']} judged, {found['unsure']} unsure, {found['open']} left open"
    without = found["strata_without_verdict"]
    return said + (f", no verdict in {', '.join(without)}" if without else "")


def _judged(known: Sequence[tuple[str, bool]], name: str) -> int:
    """Count the judged rows of a stratum."""
    return sum(other == name for other, _ in known)
