"""Decision on a challenger in three steps: register it, evaluate the gate's rule, apply the decision.

`evaluate` is a pure function of its inputs. `register` and `apply` may be repeated after a kill: a recorded decision on
the same pair and items is reused, so a resumed run spends no second look of the programme.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from tasks.execution.retraining import Plan
from tasks.tracking import lineage, model_registry
from tasks.tracking.model_registry import Version
from wethink.common.jsonl import Record, read_json, write_json
from wethink.config.params import load_params
from wethink.config.retraining import Promotion
from wethink.report.decision import decision_page, warnings
from wethink.retraining.promotion_gate import decide as gate
from wethink.retraining.promotion_gate import held_out

Approve = Callable[[Version, Version, Record], Record]  # champion, challenger, the gate's decision


@dataclass(frozen=True)
class Comparison:
    """A registered challenger beside the champion, with all that the decision depends on."""

    champion: Version
    challenger: Version
    source: str  # whose held-out items are the new part
    verdicts: tuple[list[Record], list[Record]]  # the champion's and the challenger's evaluation records
    look: int  # number of this decision in the programme, from 1
    rule: Promotion
    seed: int
    origin: Record  # lineage of the challenger's data and rows
    recorded: Record | None = None  # decision of an earlier run on the same pair and items


def decide(plan: Plan, now: Version, folder: Path, store: Path | None = None, approve: Approve | None = None) -> Record:
    """Register the challenger, decide by the promotion gate, and promote or refuse.

    Args:
        plan: the retrain.
        now: the champion.
        folder: the retrain's worktree.
        store: the checkpoint store; default: the champion's.
        approve: called after a promotion decision; may refuse it (tasks/orchestration/approval.py).

    Returns:
        The decision, with the challenger's `version`.
    """
    compared = register(plan, now, folder, store or now.folder.parent)
    return apply(compared, compared.recorded or evaluate(compared), folder, approve)


def register(plan: Plan, now: Version, folder: Path, store: Path) -> Comparison:
    """Register the worktree's checkpoint and data as a challenger; read both evaluations.

    Raises:
        UserError: the checkpoint or the data set is not published, or was changed.
    """
    from wethink.retraining.challenger import gate_records

    dataset = model_registry.keep(folder / "retrain/union", store.parent / "datasets")
    tags = {
        "stage": "grpo",
        "retrain_key": plan.key,
        "parent": now.number,
        "dataset": dataset.name,
        "sources": read_json(dataset / "sources.json"),
        "sft_digest": now.tags.get("sft_digest", "none"),
    }
    version = model_registry.register(folder / "retrain/challenger", tags, store)
    params, evaluation = load_params(folder / "params.yaml"), folder / "retrain/evaluation"
    champion, challenger = (gate_records(evaluation, model) for model in ("champion", "challenger"))
    programme = params.promotion.programme
    recorded = model_registry.decided(now, version, programme, held_out(champion))
    if recorded is None:
        model_registry.challenge(version)
    return Comparison(
        now,
        version,
        plan.source,
        (champion, challenger),
        model_registry.looks(programme) + 1,
        params.promotion,
        params.seed,
        lineage.lineage(folder),
        recorded,
    )


def evaluate(compared: Comparison) -> Record:
    """Decide by the promotion gate; return its record with the `lineage` of both models.

    Raises:
        UserError: the two evaluations are not of the same items.
    """
    old, new = compared.champion, compared.challenger
    champion, challenger = compared.verdicts
    rule, look = compared.rule, compared.look
    found = gate(champion, challenger, [compared.source], look, rule, compared.seed).as_record()
    shown = {
        "challenger": f"version {new.number}, {new.digest}",
        "champion": f"version {old.number}, {old.digest}",
        "new source": compared.source,
        "dataset": new.tags.get("dataset", "none"),
        **compared.origin,
        "held-out items": held_out(champion),
        "programme": f"{rule.programme}, look {look} of {rule.looks}",
        "code": new.tags.get("git_commit", "none"),
    }
    return found | {"lineage": shown}


def apply(compared: Comparison, decision: Record, folder: Path, approve: Approve | None = None) -> Record:
    """Record the decision unless it is recorded, ask for approval, promote or refuse, and show the verdict.

    Returns:
        The decision after approval, with the challenger's `version`.
    """
    if compared.recorded is None:
        _record(compared, decision, folder)
    if decision["promoted"] and approve is not None:
        decision = approve(compared.champion, compared.challenger, decision)
        model_registry.tell(compared.challenger, decision)
    if decision["promoted"]:
        model_registry.promote(compared.challenger, decision["reasons"][0])
    told = [f"**Warning.** {warning}" for warning in warnings(decision.get("lineage", {}))]
    lines = "\n".join(f"- {reason}" for reason in (*told, *decision["reasons"]))
    verdict = "promoted" if decision["promoted"] else "refused"
    create_markdown_artifact(f"**{verdict}**\n\n{lines}", key=f"decision-{compared.source.replace('_', '-')}")
    return decision | {"version": compared.challenger.number}


def _record(compared: Comparison, decision: Record, folder: Path) -> None:
    """Write the decision and its page to the worktree and to the registry, where it counts as a look."""
    page = decision_page(decision, decision["lineage"])
    (folder / "retrain/decision.html").write_text(page, encoding="utf-8")
    write_json(folder / "retrain/decision.json", decision)
    items = held_out(compared.verdicts[0])
    model_registry.record_decision(
        compared.champion, compared.challenger, compared.rule.programme, items, decision, page
    )
