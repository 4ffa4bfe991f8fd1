# The bucket of image sources, the queue that its notifications go to, the bucket of DVC's remote, and what each party may
# do with them and nothing else. Never applied: docs/hardware.md.
#   terraform -chdir=infra/examples/terraform init && terraform -chdir=infra/examples/terraform apply -var name=my-wethink

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0, < 7.0"
    }
  }
}

provider "aws" {
  region = var.region
}

locals {
  markers = ["_SUCCESS", "manifest.json"] # tasks/sources/s3.py: what closes a source
}

resource "aws_s3_bucket" "images" {
  bucket = "${var.name}-images"
}

resource "aws_s3_bucket" "dvc" {
  bucket = "${var.name}-dvc"
}

resource "aws_s3_bucket_public_access_block" "closed" {
  for_each                = { images = aws_s3_bucket.images.id, dvc = aws_s3_bucket.dvc.id }
  bucket                  = each.value
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "encrypted" {
  for_each = { images = aws_s3_bucket.images.id, dvc = aws_s3_bucket.dvc.id }
  bucket   = each.value
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_versioning" "kept" {
  for_each = { images = aws_s3_bucket.images.id, dvc = aws_s3_bucket.dvc.id }
  bucket   = each.value
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "images" {
  bucket = aws_s3_bucket.images.id
  rule {
    id     = "quarantine"
    status = "Enabled"
    filter {
      prefix = "quarantine/"
    }
    expiration {
      days = var.quarantine_days
    }
  }
  rule {
    id     = "unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

# What a person overwrites or deletes by mistake can be brought back; plain HTTP is refused.
data "aws_iam_policy_document" "tls_only" {
  for_each = { images = aws_s3_bucket.images.arn, dvc = aws_s3_bucket.dvc.arn }
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value, "${each.value}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "tls_only" {
  for_each = { images = aws_s3_bucket.images.id, dvc = aws_s3_bucket.dvc.id }
  bucket   = each.value
  policy   = data.aws_iam_policy_document.tls_only[each.key].json
}

# A message that was not deleted comes again; after many tries it is kept where a person looks.
resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-closed-dead"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "closed" {
  name                       = "${var.name}-closed"
  visibility_timeout_seconds = 120
  message_retention_seconds  = 1209600
  receive_wait_time_seconds  = 10
  sqs_managed_sse_enabled    = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    maxReceiveCount     = 1000 # a server that is down for a day must lose nothing
  })
}

data "aws_iam_policy_document" "bucket_may_send" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.closed.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.images.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.here.account_id]
    }
  }
}

data "aws_caller_identity" "here" {}

resource "aws_sqs_queue_policy" "closed" {
  queue_url = aws_sqs_queue.closed.id
  policy    = data.aws_iam_policy_document.bucket_may_send.json
}

resource "aws_s3_bucket_notification" "closed" {
  bucket = aws_s3_bucket.images.id
  dynamic "queue" {
    for_each = toset(local.markers)
    content {
      queue_arn     = aws_sqs_queue.closed.arn
      events        = ["s3:ObjectCreated:*"]
      filter_suffix = "/${queue.value}"
    }
  }
  depends_on = [aws_sqs_queue_policy.closed]
}
