"""Pass rates: nothing is written where no response could be judged."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import ROOT
from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.config.params import load_params
from wethink.evaluation import pass_rates


@pytest.mark.parametrize(("outcomes", "written"), [(["unknown"] * 4, False), (["unknown", "correct"] * 2, True)])
def test_rates_without_one_verdict_are_refused(
    outcomes: list[str], written: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wethink.generation.sampler.published", lambda *given: nullcontext())
    reply = [SimpleNamespace(text="x")] * 2
    monkeypatch.setattr("wethink.generation.sampler.answers", lambda *given: iter([reply for _ in given[1]]))
    monkeypatch.setattr(pass_rates, "ImageSet", lambda path: None)
    rows = [{"split": "train", "problem": "?", "image": "0", "id": str(n)} for n in range(2)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    scorer: Any = SimpleNamespace(
        score=lambda pairs: [SimpleNamespace(verdict=SimpleNamespace(outcome=outcome)) for outcome in outcomes]
    )
    out, params = tmp_path / "rates.jsonl", load_params(ROOT / "profiles" / "tiny.yaml")
    given = (tmp_path, tmp_path, tmp_path / "rows.jsonl", out, 2, params, scorer)
    if written:
        assert pass_rates.passrates(*given) == {"rows": 2, "always": 2, "never": 0}
        assert len(list(read_jsonl(out))) == 2
    else:
        with pytest.raises(UserError, match="none of the responses to 2 rows could be judged"):
            pass_rates.passrates(*given)
        assert not out.exists()
