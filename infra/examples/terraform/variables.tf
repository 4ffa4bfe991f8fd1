variable "name" {
  description = "Prefix of every name; S3 wants it to be unique in the world."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,40}$", var.name))
    error_message = "Lower-case letters, digits and -, 3 to 41 of them."
  }
}

variable "region" {
  description = "Where all of it is."
  type        = string
  default     = "eu-central-1"
}

variable "quarantine_days" {
  description = "How long objects that could not be used are kept."
  type        = number
  default     = 90
}
