"""`python -m tasks.stack.local_s3 PORT`: an S3-compatible store with a queue, as one service of a local stack.

moto's server, in memory: what is in the bucket is gone when it ends (`make down`, a crash). It is what the story needs
to run on one host; a bucket that lasts is $WETHINK_BUCKET, at AWS or any server that $AWS_ENDPOINT_URL names. It
checks no keys, and listens on loopback only.
"""

import argparse
import sys
import threading

from tasks.sources.s3 import MARKERS, client
from tasks.stack.layout import BUCKET, HOST, QUEUE


def prepare(endpoint: str) -> None:
    """The bucket, the queue, and the notifications of the one to the other; once more changes nothing."""
    store, queue = client("s3", endpoint), client("sqs", endpoint)
    url = queue.create_queue(QueueName=QUEUE)["QueueUrl"]
    arn = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    store.create_bucket(Bucket=BUCKET)
    told = []
    for marker in MARKERS:  # a message for what closes a source, not one for each of its images (infra/terraform, too)
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
    parser.add_argument("--host", default=HOST, help="another address than loopback is for a container of its own")
    args = parser.parse_args()
    server = ThreadedMotoServer(ip_address=args.host, port=args.port, verbose=False)
    server.start()
    prepare(f"http://{HOST}:{args.port}")
    print(f"moto's server with bucket '{BUCKET}' and queue '{QUEUE}' on {args.host}:{args.port}", flush=True)
    threading.Event().wait()  # until a signal ends this process
    return 0


if __name__ == "__main__":
    sys.exit(main())
