"""Registry of benchmarks: table, family, reported figures and origin of the scores.

Fourteen are those of the two OpenCompass boards that list WeThink (docs/benchmarks.md); `own` is our held-out suite. A
benchmark whose items need a judge, or whose answers are not public, is scored by VLMEvalKit itself
(wethink/evaluation/benchmarks/vlmevalkit.py); native families need neither.
"""

from dataclasses import dataclass
from typing import Literal

Family = Literal["choice", "yes_no", "ocr", "own", "kit"]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark; `figures` are the reported figures, the headline first."""

    name: str  # the TSV's name, without `.tsv`
    title: str
    family: Family
    figures: tuple[str, ...] = ("accuracy",)
    circular: bool = False  # rotated copies of a question form one unit (indices equal modulo 10⁶)
    thinks: bool = True  # asked with the system prompt; the authors leave it out where False (VLMEvalKit's wrapper)
    interleave: bool = False  # `<image k>` in the text places the k-th image
    split: str | None = None  # the only value of the `split` column that the headline counts
    groups: tuple[str, ...] = ("category", "l2-category")
    published: str | None = None  # its key in wethink/evaluation/benchmarks/published_scores.py
    missing: str = ""  # requirements beside the TSV


_MC_GROUPS = ("category", "l2-category")
_JUDGE = "a judge model behind an endpoint, and VLMEvalKit in .venv-vlmeval"
_ANSWERS = "the benchmark's server: its answers are not public"

BENCHMARKS: dict[str, Benchmark] = {
    entry.name: entry
    for entry in (
        Benchmark(
            "MMBench_TEST_EN_V11", "MMBench v1.1 English", "kit", circular=True, published="MMBench", missing=_ANSWERS
        ),
        Benchmark(
            "MMBench_TEST_CN_V11", "MMBench v1.1 Chinese", "kit", circular=True, published="MMBench", missing=_ANSWERS
        ),
        Benchmark("MMStar", "MMStar", "choice", published="MMStar"),
        Benchmark("MMMU_DEV_VAL", "MMMU val", "choice", interleave=True, split="validation", published="MMMU"),
        Benchmark("MathVista_MINI", "MathVista mini", "kit", groups=("task",), published="MathVista", missing=_JUDGE),
        Benchmark(
            "HallusionBench", "HallusionBench", "yes_no", ("mean", "aAcc", "fAcc", "qAcc"), published="HallusionBench"
        ),
        Benchmark("AI2D_TEST", "AI2D test", "choice", thinks=False, published="AI2D"),
        Benchmark("OCRBench", "OCRBench", "ocr", ("sum",), thinks=False, groups=("category",), published="OCRBench"),
        Benchmark("MMVet", "MM-Vet", "kit", groups=("category",), published="MMVet", missing=_JUDGE),
        Benchmark("MathVision", "MathVision", "kit", groups=("category",), published="MathVision", missing=_JUDGE),
        Benchmark("MathVerse_MINI_Vision_Only", "MathVerse vision only", "kit", published="MathVerse", missing=_JUDGE),
        Benchmark(
            "DynaMath",
            "DynaMath",
            "kit",
            ("worst case", "average"),
            groups=("subject",),
            published="DynaMath",
            missing=_JUDGE,
        ),
        Benchmark("WeMath", "WeMath", "kit", ("strict",), groups=(), published="WeMath", missing=_JUDGE),
        Benchmark("LogicVista", "LogicVista", "kit", groups=("skill",), published="LogicVista", missing=_JUDGE),
    )
}

FAMILIES_OF_OTHERS: dict[str, Benchmark] = {  # by how a TSV's name begins, for tables that are not on the boards
    "MMBench_DEV_": Benchmark("MMBench_DEV_", "MMBench dev", "choice", circular=True),
    "WeThink_": Benchmark("WeThink_", "Own held-out suite", "own", groups=("category", "kind", "abilities")),
}


def entry_for(name: str) -> Benchmark:
    """Return the entry of a TSV by its name.

    An unknown name is plain multiple choice, as in VLMEvalKit.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    for prefix, entry in FAMILIES_OF_OTHERS.items():
        if name.startswith(prefix):
            return Benchmark(**(vars(entry) | {"name": name, "title": name.replace("_", " ")}))
    circular = any(word in name.lower() for word in ("mmbench", "ccbench", "circular", "mmcr"))
    return Benchmark(name, name.replace("_", " "), "choice", circular=circular)
