output "bucket" {
  description = "WETHINK_BUCKET of the stack."
  value       = aws_s3_bucket.images.id
}

output "queue" {
  description = "WETHINK_QUEUE of the stack."
  value       = aws_sqs_queue.closed.url
}

output "dvc_remote" {
  description = "For `dvc remote add --default s3 …`."
  value       = "s3://${aws_s3_bucket.dvc.id}"
}

output "policies" {
  description = "To attach to the roles of the watcher, the worker and whoever brings images."
  value = {
    watcher  = aws_iam_policy.watcher.arn
    worker   = aws_iam_policy.worker.arn
    uploader = aws_iam_policy.uploader.arn
  }
}
