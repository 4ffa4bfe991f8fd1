"""Row schema: the released dataset's keys, question types, reward routes, splits."""

TRAINING_SPLITS = ("pretrain", "train")  # the others are held out: no rows are written about their images

RELEASED_KEYS = ("problem", "answer", "category", "abilities", "refined_cot", "image_path", "reward")
CATEGORIES = ("MC", "FIB", "DES")  # multiple choice, fill in the blank, descriptive (paper.md §2)
REWARDS = ("rule", "model")  # accuracy is checked by rules or by a judge
SPLITS = ("pretrain", "train", "tuning", "reporting")
