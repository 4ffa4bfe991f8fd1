"""Sources that arrive as queues and people make them arrive: twice, out of order, at once, in the middle of a run."""

import datetime
import itertools
import json
from typing import Any

from tests.fault_injection.ledger import balanced
from tests.fault_injection.services import BUCKET, Services


def a_message_delivered_twice_and_out_of_order(services: Services, name: str) -> str:
    """Closed, closed again: the later closing is heard of first, and each of them twice. One run each, one version."""
    store = services.store
    services.drop(name, close=False)
    with _notifications_off(services):
        etags = []
        for body in (b"first", b"second"):
            store.close(name, body)
            etags.append(store.s3.head_object(Bucket=BUCKET, Key=f"{name}/_SUCCESS")["ETag"])
        for etag in (etags[1], etags[0], etags[1], etags[0]):
            store.sqs.send_message(QueueUrl=store.queue, MessageBody=_notification(f"{name}/_SUCCESS", etag))
    runs = services.ended(name, runs=2)
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 2, [run["state"] for run in runs]
    assert sorted(run["state_name"] for run in runs) == ["Cached", "Completed"]
    assert len({run["parameters"]["event_id"] for run in runs}) == 2 == len(runs)
    balanced(services, name)
    return "four messages about two closings: two runs, of which one did the work"


def two_sources_landing_at_once(services: Services, name: str) -> str:
    """Both are trained on, one after the other, the second beside the champion that the first left."""
    names = [f"{name}-{letter}" for letter in "ab"]
    for one in names:
        services.drop(one, close=False)
    for one in names:
        services.store.close(one)
    runs = [services.ended(one)[0] for one in names]
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 2, [run["state"] for run in runs]
    gap = _apart(runs)
    balanced(services, *names)
    return f"two runs, the second began {gap:.0f} s after the first had ended"


def an_automation_firing_while_a_retrain_runs(services: Services, name: str) -> str:
    """The second run waits in the queue for the first: not lost, not doubled, not beside it."""
    first, second = f"{name}-a", f"{name}-b"
    services.drop(first)
    services.training(first)
    services.drop(second)
    queued = services.run(second)
    assert queued["state_type"] in ("SCHEDULED", "PENDING"), queued["state"]
    assert services.run(first)["state_type"] == "RUNNING", "the first run should have gone on"
    runs = [services.ended(one)[0] for one in (first, second)]
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 2, [run["state"] for run in runs]
    gap = _apart(runs)
    balanced(services, first, second)
    return f"the second run was {queued['state_name']}, and began {gap:.0f} s after the first had ended"


def _apart(runs: list[dict[str, Any]]) -> float:
    """Seconds between the end of one run and the start of the next; the runs must not overlap."""
    times = sorted((_time(run["start_time"]), _time(run["end_time"])) for run in runs)
    gaps = [(after[0] - before[1]).total_seconds() for before, after in itertools.pairwise(times)]
    assert min(gaps) >= 0, f"two retrains ran at the same time: {times}"
    return min(gaps)


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _notification(key: str, etag: str) -> str:
    record = {"bucket": {"name": BUCKET}, "object": {"key": key, "eTag": etag.strip('"')}}
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": record}]})


class _notifications_off:
    """The bucket tells the queue nothing while the block runs."""

    def __init__(self, services: Services) -> None:
        self._s3 = services.store.s3
        self._told = self._s3.get_bucket_notification_configuration(Bucket=BUCKET)

    def __enter__(self) -> None:
        self._s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})

    def __exit__(self, *_: object) -> None:
        told = {key: self._told[key] for key in ("QueueConfigurations",)}
        self._s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=told)
