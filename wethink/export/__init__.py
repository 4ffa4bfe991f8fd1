"""Taking data elsewhere: a Hugging Face dataset with its card, and the forms that other trainers read."""
