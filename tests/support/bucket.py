"""S3 bucket with an SQS notification queue on loopback (moto), for tests of image sources."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tasks.sources import s3

BUCKET = "images"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """moto's server on a free port of loopback: S3, SQS, and notifications from one to the other."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def forget(endpoint: str) -> None:
    """Empty moto: it has one state for all servers of this process, so a test would find what another one left."""
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"), timeout=30).close()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of its own."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    forget(endpoint)
    made = s3.client("s3", endpoint)
    made.create_bucket(Bucket=BUCKET)
    yield made


@pytest.fixture
def queue(store: Any, endpoint: str) -> Iterator[tuple[Any, str]]:
    """A queue that gets the bucket's notifications."""
    made = s3.client("sqs", endpoint)
    url = made.create_queue(QueueName="closed")["QueueUrl"]
    arn = made.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
    store.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": told})
    yield made, url
    made.delete_queue(QueueUrl=url)


def put(store: Any, **files: str) -> None:
    for key, text in files.items():
        store.put_object(Bucket=BUCKET, Key=key.replace("__", "/"), Body=text.encode())
