"""In-memory S3 store with a queue for a local stack: `python -m tasks.stack.local_s3 PORT`.

It runs moto's server; the bucket's contents are lost when it ends (`make down`, a crash). For a durable bucket set
$WETHINK_BUCKET, at AWS or at the server that $AWS_ENDPOINT_URL names. It checks no keys and listens on loopback unless
`--host` is given.
"""

import argparse
import sys
import threading

from tasks.sources.s3 import MARKERS, client
from tasks.stack.layout import BUCKET, HOST, QUEUE


def prepare(endpoint: str) -> None:
    """Create the bucket, the queue, and the bucket's notifications to it; idempotent."""
    store, queue = client("s3", endpoint), client("sqs", endpoint)
    url = queue.create_queue(QueueName=QUEUE)["QueueUrl"]
    arn = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    store.create_bucket(Bucket=BUCKET)
    told = []
    for marker in MARKERS:  # notify of markers only, not of every image (as infra/examples/terraform does)
        ends = {"Key": {"FilterRules": [{"Name": "suffix", "Value": f"/{marker}"}]}}
        told.append({"Id": marker, "QueueArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": ends})
    configuration = {"QueueConfigurations": told}
    store.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configuration)


def main() -> int:
    from moto.server import ThreadedMotoServer

    parser = argparse.ArgumentParser(
        prog="python -m tasks.stack.local_s3", description="A bucket with a queue, in memory."
    )
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default=HOST, help="listening address; one other than loopback is for containers")
    args = parser.parse_args()
    server = ThreadedMotoServer(ip_address=args.host, port=args.port, verbose=False)
    server.start()
    prepare(f"http://{HOST}:{args.port}")
    print(f"moto's server with bucket '{BUCKET}' and queue '{QUEUE}' on {args.host}:{args.port}", flush=True)
    threading.Event().wait()  # until a signal ends this process
    return 0


if __name__ == "__main__":
    sys.exit(main())
