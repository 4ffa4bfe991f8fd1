"""MLflow traces of a sample of a stage's LLM calls: model, response, tokens, cost, latency.

Traces are made from the response store afterwards, so they do not slow the calls. Call keys are content hashes; the
first keys in order are therefore a random but reproducible sample. The store has no prompts; a trace and a row's
provenance share the call's key.
"""

from typing import Any

from wethink.clients.response_store import ResponseStore, exists
from wethink.config.params import load_params

SAMPLE = 20
STAGES_WITH_CALLS = ("synthesize", "grpo", "evaluate")
JUDGE = "judge"  # role of the calls in GRPO and evaluation; other roles belong to synthesis


def log(client: Any, run_id: str, stage: str) -> int:
    """Log a sample of the stage's calls as traces of its run, unless it has some.

    Returns:
        The run's number of traces, at most `SAMPLE`.
    """
    store = load_params().launch.answers
    if stage not in STAGES_WITH_CALLS or not exists(store):
        return 0
    import mlflow

    home = client.get_run(run_id).info.experiment_id
    known = client.search_traces(locations=[home], filter_string=f"tags.stage_run = '{run_id}'", max_results=SAMPLE)
    if known:
        return len(known)
    with ResponseStore(store) as answers:
        calls = answers.sample(SAMPLE, JUDGE, stage != "synthesize")
    for call in calls:
        start, end = (int(seconds * 1e9) for seconds in (call["at"] - call["seconds"], call["at"]))
        asked = {key: call[key] for key in ("key", "role", "endpoint", "model")}
        span = client.start_trace(
            call["role"], "LLM", inputs=asked, tags={"stage": stage, "stage_run": run_id}, experiment_id=home,
            start_time_ns=start, run_id=run_id,
        )  # fmt: skip
        spent = {key: call[key] for key in ("prompt_tokens", "completion_tokens", "cost")}
        said = {"text": call["text"], "finish": call["finish"]}
        client.end_trace(span.trace_id, outputs=said, attributes=spent, end_time_ns=end)
    mlflow.flush_trace_async_logging()
    return len(calls)
