"""HTML report of `make ablations`: claims with their verdicts, and every arm of every seed."""

from typing import Any

from wethink.report.render import render


def ablations_page(result: dict[str, Any]) -> str:
    """Render `reports/ablations.json` as one self-contained page."""
    verdicts, questions = [claim["verdict"] for claim in result["claims"]], dict[str, list[Any]]()
    for claim in result["claims"]:
        questions.setdefault(claim["question"], []).append(claim)
    return render(
        "ablations.html.jinja",
        shown=verdicts.count("shows"),
        contrary=verdicts.count("the contrary"),
        questions=questions,
        **{key: result[key] for key in ("arms", "claims", "seeds", "budget", "cpu_seconds")},
    )
