"""Registry of benchmarks: table, family, reported figures and origin of the scores.

Fourteen are those of the two OpenCompass boards that list WeThink (docs/benchmarks.md); `own` is our held-out suite. A
benchmark whose items need a judge, or whose answers are not public, is scored by VLMEvalKit itself
(wethink/evaluation/benchmarks/vlmevalkit.py); native families need neither. A table of another name gets its family
from its columns and golds, or by declaration.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from wethink.common.errors import UserError
from wethink.data.benchmark_table import Table
from wethink.evaluation.benchmarks.known_names import OWN_CODE, PLAIN_CHOICE, beginnings, plain, stem

Declared = Literal["choice", "yes_no", "vqa", "relaxed", "anls", "exact", "ocr", "open"]
Family = Literal[Declared, "own", "kit"]
DECLARED: tuple[Declared, ...] = get_args(Declared)
KIT_FAMILIES = frozenset(("choice", "yes_no", "vqa", "relaxed", "anls", "exact", "ocr"))  # VLMEvalKit has a protocol
YES_NO = frozenset(("yes", "no"))


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
    rating: Literal["", "f1", "mme", "amber"] = ""  # figures other than shares of units (ratings.py)
    suffix: str = ""  # follows the question in the prompt


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

_SHORT = "\nAnswer the question using a single word or phrase."
_F1 = ("accuracy", "F1", "precision", "recall")
_OTHERS = (  # further tables of VLMEvalKit with native scoring; a name may continue one of these
    Benchmark("POPE", "POPE", "yes_no", ("F1", "accuracy", "precision", "recall"), rating="f1"),
    Benchmark("MME", "MME", "yes_no", ("total", "perception", "cognition"), rating="mme"),
    Benchmark("AMBER", "AMBER", "yes_no", ("mean", *_F1), rating="amber", suffix="\nPlease answer yes or no."),
    Benchmark("VSR-zeroshot", "VSR", "yes_no", _F1, rating="f1"),
    Benchmark("VSR", "VSR", "yes_no", _F1, rating="f1"),
    Benchmark("ChartQA", "ChartQA", "relaxed", suffix=_SHORT),
    Benchmark("TextVQA", "TextVQA", "vqa", suffix=_SHORT),
    Benchmark("DocVQA", "DocVQA", "anls", suffix=_SHORT),
    Benchmark("InfoVQA", "InfographicVQA", "anls", suffix=_SHORT),
    Benchmark("OCRVQA", "OCR-VQA", "exact", suffix=_SHORT),
    Benchmark("GQA", "GQA", "exact", suffix=_SHORT),
    Benchmark("OCRBench", "OCRBench", "ocr", ("sum",), thinks=False, groups=("category",)),
    Benchmark("HallusionBench", "HallusionBench", "yes_no", ("mean", "aAcc", "fAcc", "qAcc")),
    Benchmark("MMMU", "MMMU", "choice", interleave=True),
)
_FIGURES: dict[Family, tuple[str, ...]] = {"yes_no": _F1, "ocr": ("sum",)}
_CODE = "VLMEvalKit in .venv-vlmeval, which asks or scores its items with code of their own"


def _stems() -> dict[str, Benchmark]:
    """Index all names that VLMEvalKit knows, folded; native entries win."""
    found = {plain(name): Benchmark(name, name, "choice") for name in PLAIN_CHOICE}
    for name in OWN_CODE:
        entry = Benchmark(name, name.replace("_", " "), "kit", missing=_CODE)
        found |= {key: entry for key in (plain(name), stem(name)) if key not in found}
    for board in BENCHMARKS.values():
        found |= {key: board for key in (plain(board.name), stem(board.name)) if board.family == "kit"}
    return found | {plain(other.name): other for other in _OTHERS}


_STEMS = _stems()


def known(name: str) -> Benchmark | None:
    """Return the entry of a table whose name is a known one, or continues one."""
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    for prefix, entry in FAMILIES_OF_OTHERS.items():
        if name.startswith(prefix):
            return replace(entry, name=name, title=name.replace("_", " "))
    for beginning in beginnings(name):
        if found := _STEMS.get(beginning):
            title = found.title if plain(found.name) == plain(name) else name.replace("_", " ")
            return replace(found, name=name, title=title, circular=_circular(name, found.family), published=None)
    return None


def _circular(name: str, family: Family) -> bool:
    """Tell whether VLMEvalKit takes a table for circular evaluation, by its name."""
    return family == "choice" and any(word in name.lower() for word in ("mmbench", "ccbench", "circular", "mmcr"))


def entry_for(name: str, family: Family | None = None) -> Benchmark:
    """Return the entry of a table by its name and the family that its run was scored by.

    A family other than that of a known name was declared.
    """
    entry = known(name)
    if entry is not None and family in (None, entry.family):
        return entry
    family = family or "choice"
    rating: Literal["", "f1"] = "f1" if family == "yes_no" else ""
    figures = _FIGURES.get(family, ("accuracy",))
    circular = _circular(name, family)
    return Benchmark(name, name.replace("_", " "), family, figures, circular=circular, rating=rating)


def entry_of(table: Table, declared: Family | None = None) -> Benchmark:
    """Return the entry of a table: as declared, by a known name, else by its columns and golds.

    Options A and B make a choice, golds that are all yes or no make yes/no; else the answers are open.

    Raises:
        UserError: the name or the declaration says multiple choice, and the table has no options.
    """
    family: Family | None = declared
    if family is None and (entry := known(table.name)) is not None:
        family = entry.family
    has_options = {"A", "B"} <= set(table.columns)
    if family is None:
        golds = {item.get("answer").strip().lower() for item in table.items.values()} - {""}
        family = "choice" if has_options else "yes_no" if golds and golds <= YES_NO else "open"
    found = entry_for(table.name, family)
    if family == "choice" and not has_options and not found.interleave:
        raise UserError(
            f"{table.path}: multiple choice by {'--family' if declared else 'its name'}, but there are no columns A "
            f"and B; declare --family ({', '.join(DECLARED)})."
        )
    return found


def has_kit_protocol(benchmark: Benchmark) -> bool:
    """Tell whether VLMEvalKit itself would score the table by this family.

    It takes any table with options for a choice; the other families only by names that it knows.
    """
    if benchmark.family not in KIT_FAMILIES:
        return False
    entry = known(benchmark.name)
    return entry.family == benchmark.family if entry is not None else benchmark.family == "choice"
