# Three policies, each for one party; attach them to the roles that your machines and people have.

# The watcher: reads messages, lists the bucket, and puts messages that it does not understand aside.
data "aws_iam_policy_document" "watcher" {
  statement {
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    resources = [aws_sqs_queue.closed.arn]
  }
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.images.arn]
  }
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.images.arn}/quarantine/*"]
  }
}

# The worker: reads sources, moves objects that cannot be files to the quarantine, and keeps data in DVC's remote.
data "aws_iam_policy_document" "worker" {
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.images.arn, aws_s3_bucket.dvc.arn]
  }
  statement {
    actions   = ["s3:GetObject", "s3:DeleteObject"] # versioning is on: a deletion can be undone
    resources = ["${aws_s3_bucket.images.arn}/*"]
  }
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.images.arn}/quarantine/*"]
  }
  statement {
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.dvc.arn}/*"]
  }
}

# Whoever brings images: writes sources, not the quarantine, and reads nothing.
data "aws_iam_policy_document" "uploader" {
  statement {
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.images.arn}/*"]
  }
  statement {
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = ["${aws_s3_bucket.images.arn}/quarantine/*"]
  }
}

resource "aws_iam_policy" "watcher" {
  name   = "${var.name}-watcher"
  policy = data.aws_iam_policy_document.watcher.json
}

resource "aws_iam_policy" "worker" {
  name   = "${var.name}-worker"
  policy = data.aws_iam_policy_document.worker.json
}

resource "aws_iam_policy" "uploader" {
  name   = "${var.name}-uploader"
  policy = data.aws_iam_policy_document.uploader.json
}
