"""The report: one self-contained page that shows what the pipeline did and how sure that is."""
