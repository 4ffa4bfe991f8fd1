"""`python -m wethink audit`: how many rows are wrong, by the eyes of a human, on a sample drawn by chance.

Drawn images have a truth; one's own have not, so somebody must look. `sample` draws rows in proportion to their
strata (source and question type), no two about the same scene, and writes one page with them. The page saves a small
file with the verdicts and all that the estimate needs, made to be versioned (`dvc add`). `estimate` reads it.
"""

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wethink.errors import UserError
from wethink.images import ImageSet
from wethink.records import Record, content_id, read_json, read_jsonl, write_json
from wethink.report.gallery import picture

PAGE = Path(__file__).resolve().parent / "gallery" / "page_audit.html"
VERDICTS = ("accept", "reject", "unsure")
Z = 1.959964  # of a two-sided 95 % interval


def sample(images: Path, valid: Path, out: Path, count: int, seed: int) -> int:
    """Write the page with `count` rows (fewer, if there are not so many scenes) and return how many it holds.

    Raises:
        UserError: there are no rows.
    """
    rows = list(read_jsonl(valid / "rows.jsonl"))
    if not rows or count < 1:
        raise UserError(f"{valid / 'rows.jsonl'} has {len(rows)} rows and --rows is {count}; both must be at least 1.")
    chosen = draw(rows, count, seed)
    population = Counter(map(stratum, rows))
    stored = ImageSet(images)
    shown = [
        {key: row[key] for key in ("id", "problem", "answer", "category", "source", "refined_cot")}
        | {"stratum": stratum(row), "thumb": (small := picture(stored.bytes(row["image"]))).uri}
        | {"pixelated": small.pixelated}
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


def stratum(row: Record) -> str:
    """Source and question type: rows of one stratum are likely to fail alike."""
    return f"{row['source']} {row['category']}"


def draw(rows: Sequence[Record], count: int, seed: int) -> list[Record]:
    """`count` rows, each stratum in proportion, one of a scene; which ones, a hash decides; order is mixed."""
    order = sorted(rows, key=lambda row: hashlib.sha256(f"audit {seed} {row['id']}".encode()).digest())
    one_each: dict[str, Record] = {}
    for row in order:
        one_each.setdefault(row["scene"], row)
    distinct = list(one_each.values())
    wanted = min(count, len(distinct))
    sizes = Counter(map(stratum, distinct))
    exact = {name: wanted * size / len(distinct) for name, size in sizes.items()}
    quota = {name: math.floor(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda name: (quota[name] - exact[name], name))[: wanted - sum(quota.values())]:
        quota[name] += 1
    chosen = []
    for row in distinct:
        if quota[stratum(row)]:
            quota[stratum(row)] -= 1
            chosen.append(row)
    return chosen


def estimate(verdicts: Path, out: Path) -> dict[str, Any]:
    """The share of wrong rows with its 95 % interval, from a saved file; written to `out` and returned.

    Strata are weighted by how many rows they have; the interval is Wilson's at the effective sample size. Rows that
    the judge is unsure of, or has not seen, are counted and left out: unknown is not wrong.

    Raises:
        UserError: the file is not one that the page saved, or holds no verdict.
    """
    given = read_json(verdicts, "name the file that the audit page saved")
    try:
        population, judged = dict(given["population"]), list(given["rows"])
        known = [(row["stratum"], row["verdict"] == "reject") for row in judged if row["verdict"] in VERDICTS[:2]]
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
    result = {
        "sample": given.get("sample"),
        "error": {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6), "n": len(known)},
        "unsure": sum(row["verdict"] == "unsure" for row in judged),
        "open": sum(row["verdict"] not in VERDICTS for row in judged),
        "strata": strata,
        "strata_without_verdict": sorted(set(population) - set(strata)),
    }
    write_json(out, result)
    return result


def _judged(known: Sequence[tuple[str, bool]], name: str) -> int:
    """How many rows of a stratum were judged."""
    return sum(other == name for other, _ in known)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share seen in n rows.

    >>> [round(bound, 3) for bound in wilson(0.1, 100)]
    [0.055, 0.174]
    """
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
